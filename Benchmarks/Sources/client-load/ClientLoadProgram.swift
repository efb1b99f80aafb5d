import ClientLoads
import Foundation

/// `client-load one|loop|fifty|fifty-loop|pipeline|lrange <operations>`: one load of the client and nothing else, to be counted from
/// outside.
/// `client-load failover|failover-none <operations>`: calls to a store that does nothing.
/// `client-load limit-away|session-away <operations>`: what is decided here while the server is away.
///
/// `HOLDFAST_BENCH_SOCKET` names the server's socket.
@main
enum ClientLoadProgram {
    static func main() {
        let words = CommandLine.arguments
        guard words.count == 3, let operations = Int(words[2]) else { fail() }
        if let load = FailoverLoad(rawValue: words[1]) { return run { try await load.run(operations) } }
        if let load = DecisionLoad(rawValue: words[1]) { return run { try await load.run(operations) } }
        guard let load = ClientLoad(rawValue: words[1]),
            let socket = ProcessInfo.processInfo.environment["HOLDFAST_BENCH_SOCKET"]
        else { fail() }
        run {
            let store = try ClientLoad.store(socket: socket)
            try await ClientLoad.prepare(store)
            try await load.run(operations, store)
            await store.shutdown()
        }
    }

    private static func run(_ body: @escaping @Sendable () async throws -> Void) {
        OneThread.run {
            do {
                try await body()
            } catch {
                FileHandle.standardError.write(Data("\(error)\n".utf8))
                exit(1)
            }
        }
    }

    private static func fail() -> Never {
        FileHandle.standardError.write(Data("usage: HOLDFAST_BENCH_SOCKET=<path> client-load <load> <operations>\n".utf8))
        exit(64)
    }
}
