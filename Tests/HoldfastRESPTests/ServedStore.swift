import HoldfastRESP
import HoldfastStore
import Logging

/// An embedded store served on a free port for the time of a test.
struct ServedStore {
    let store: EmbeddedStore
    let port: Int

    static func with<R: Sendable>(
        _ store: EmbeddedStore = EmbeddedStore(), configured change: (inout RESPServer.Configuration) -> Void = { _ in },
        _ body: @Sendable @escaping (ServedStore) async throws -> R
    ) async throws -> R {
        var configuration = RESPServer.Configuration()
        configuration.port = 0
        change(&configuration)
        let (ports, port) = AsyncStream<Int>.makeStream()
        let server = RESPServer(store: store, configuration: configuration, logger: Logger(label: "test")) { port.yield($0) }
        return try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask {
                defer { port.finish() }
                try await server.run()
                return nil
            }
            group.addTask {
                for await port in ports { return try await body(ServedStore(store: store, port: port)) }
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    func connect() throws -> RawClient { try RawClient(port: port) }
}
