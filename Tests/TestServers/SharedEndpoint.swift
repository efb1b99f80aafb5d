import Holdfast
import HoldfastRedis
import HoldfastServer
import HoldfastStore
public import HoldfastUpstash
import Logging

/// Holdfast's own REST endpoint, in front of the shared Redis, for all tests of a process.
public enum SharedEndpoint {
    public static let token = "endpoint-token"
    public static let readOnlyToken = "endpoint-read-only-token"

    private static let running = Task.detached {
        let store = try RedisStore(await SharedRedis.configuration())
        let state = AgentState(
            failover: Failover(server: store, local: EmbeddedStore()), namespace: Namespace(prefix: "endpoint:"))
        let keys = APIKeyRing([
            APIKey(name: "app", role: .operator, secret: token), APIKey(name: "view", role: .reader, secret: readOnlyToken),
        ])
        var configuration = HTTPServer.Configuration()
        configuration.port = 0
        var logger = Logger(label: "endpoint")
        logger.logLevel = .critical
        let (ports, port) = AsyncStream<Int>.makeStream()
        let server = HTTPServer(state: state, keys: keys, configuration: configuration, logger: logger) { port.yield($0) }
        Task.detached {
            try? await server.run()
            port.finish()
        }
        for await port in ports { return port }
        throw TestServerError("the endpoint did not start")
    }

    /// How to reach it.
    public static func configuration(token: String = token) async throws -> UpstashConfiguration {
        var configuration = UpstashConfiguration(
            url: "http://127.0.0.1:\(try await running.value)/upstash", token: token)
        // Client, endpoint and server share the machine with all other tests.
        configuration.commandTimeout = .seconds(60)
        return configuration
    }
}
