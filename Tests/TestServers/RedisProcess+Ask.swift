import HoldfastRedis
public import HoldfastStore

extension RedisProcess {
    /// The reply to one command, over a connection of its own that is closed again: for looking at a server from outside.
    public func ask(_ command: Bytes...) async throws -> Reply { try await ask(command: command) }

    public func ask(command: [Bytes]) async throws -> Reply {
        let store = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: port), password: password).patient)
        do {
            let reply = try await store.execute(.raw(command))
            await store.shutdown()
            return reply
        } catch {
            await store.shutdown()
            throw error
        }
    }
}
