package import HoldfastStore

/// The commands that the services send to a server: what its user must be permitted to call (`holdfast doctor`).
package enum ServiceCommands {
    /// Every procedure of the services.
    package static let scripts: [Script] = [
        AtomicProcedures.all,
        CacheProcedures.all,
        FailoverProcedures.all,
        IdempotencyProcedures.all,
        InstanceProcedures.all,
        RateLimitProcedures.all,
        SessionProcedures.all,
    ].flatMap { $0 }

    /// What the services send by itself and, because a server asks for each again, within scripts; in order. Without what they can do
    /// without (INFO), and what concerns scripts as such (EVAL, EVALSHA), channels and connections.
    package static let names: [String] = Set(direct + scripts.flatMap { called(by: $0.lua) }).sorted()

    /// What is sent by itself. `DoctorPermissionTests` uses every service as a user who may call nothing else.
    private static let direct = [
        "DBSIZE", "DEL", "EXEC", "EXISTS", "GET", "GETRANGE", "HGET", "HGETALL", "HMGET", "MULTI", "PERSIST", "PEXPIRE", "PING",
        "PTTL", "SCAN", "SET", "UNLINK", "ZRANGE", "ZREM", "ZSCORE",
    ]

    /// The names in `redis.call('NAME', …)` and `redis.pcall('NAME', …)`.
    private static func called(by lua: String) -> [String] {
        lua.split(separator: "call('").dropFirst().map { String($0.prefix { $0 != "'" }) }
    }
}
