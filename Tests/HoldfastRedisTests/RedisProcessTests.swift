import HoldfastStore
import TestServers
import Testing

@Suite struct RedisProcessTests {
    @Test func aServerListensWhereItSays() async throws {
        var options = RedisProcess.Options()
        options.tls = true
        options.password = "p@ss %:/"
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        #expect(server.log.contains("Ready to accept connections"))
        #expect(server.port > 0 && server.tlsPort > 0 && server.port != server.tlsPort)
    }

    @Test func aServerComesBackAfterAKill() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        server.kill()
        try await server.restart()
        #expect(server.log.contains("Ready to accept connections"))
    }

    @Test func aServerThatCannotStartFailsLoudly() async throws {
        var options = RedisProcess.Options()
        options.configuration = ["no-such-directive yes"]
        await #expect(throws: TestServerError.self) { _ = try await RedisProcess.start(options) }
    }
}
