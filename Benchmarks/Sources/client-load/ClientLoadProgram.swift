import ClientLoads
import Foundation

/// `client-load one|loop|fifty|pipeline|lrange <operations>`: one load of the client and nothing else, to be counted from outside.
///
/// `HOLDFAST_BENCH_SOCKET` names the server's socket.
@main
enum ClientLoadProgram {
    static func main() {
        let words = CommandLine.arguments
        guard words.count == 3, let load = ClientLoad(rawValue: words[1]), let operations = Int(words[2]),
            let socket = ProcessInfo.processInfo.environment["HOLDFAST_BENCH_SOCKET"]
        else {
            FileHandle.standardError.write(Data("usage: HOLDFAST_BENCH_SOCKET=<path> client-load <load> <operations>\n".utf8))
            exit(64)
        }
        OneThread.run {
            do {
                let store = try ClientLoad.store(socket: socket)
                try await ClientLoad.prepare(store)
                try await load.run(operations, store)
                await store.shutdown()
            } catch {
                FileHandle.standardError.write(Data("\(error)\n".utf8))
                exit(1)
            }
        }
    }
}
