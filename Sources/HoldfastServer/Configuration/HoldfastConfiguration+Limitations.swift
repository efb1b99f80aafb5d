import Holdfast
import HoldfastStore

extension HoldfastConfiguration {
    /// What is asked for that this version cannot do: one line each. A server must not start while this is not empty.
    public var refusals: [String] {
        var lines: [String] = []
        if sessions.storage == .jwt {
            lines.append("SESSION_STORAGE=jwt: this version cannot keep sessions in tokens; use redis or memory")
        }
        if let resp = server.resp { lines += refusals(of: resp) }
        return lines
    }

    private func refusals(of resp: HostAndPort) -> [String] {
        if redis.isEnabled {
            return ["HOLDFAST_RESP shows the embedded store, and a server is in use: point redis-cli at \(redis.address)"]
        }
        guard !resp.isLoopback else { return [] }
        if !server.respIsRemote {
            return ["HOLDFAST_RESP=\(resp) can be reached from other machines: HOLDFAST_RESP_REMOTE=true allows that"]
        }
        if server.respPassword == nil {
            return ["HOLDFAST_RESP=\(resp) can be reached from other machines: set HOLDFAST_RESP_PASSWORD"]
        }
        return []
    }

    /// The store that serves, in words and without secrets.
    public var storeDescription: String {
        guard redis.isEnabled else { return "embedded (in this process)" }
        if let rest = redis.rest { return "Upstash REST at \(rest.url)" }
        if let sentinel = redis.sentinel { return "Redis \(sentinel.master), through \(sentinel.nodes.count) sentinels" }
        var text = "Redis at \(redis.address)"
        if let nodes = redis.cluster {
            text = nodes.isEmpty ? "Redis Cluster at \(redis.address)" : "Redis Cluster of \(nodes.count) nodes"
        }
        if redis.database != 0 { text += ", database \(redis.database)" }
        if let username = redis.username { text += ", user \(username)" }
        if let tls = redis.tls { text += tls.certificateRequirements.verifies ? ", TLS" : ", TLS without certificate check" }
        return text
    }

    /// What is set and has less effect in this version than its name promises: one line each.
    var limitations: [String] {
        var lines: [String] = []
        if server.dataFolder != nil, redis.isEnabled, server.journal.sync != JournalConfiguration().sync {
            lines.append("HOLDFAST_APPENDFSYNC has no effect beside a server: the outbox is always synced")
        }
        if !redis.isEnabled, server.outbox != Outbox.Configuration() {
            lines.append("HOLDFAST_OUTBOX_MAX_ENTRIES and HOLDFAST_OUTBOX_MAX_SIZE have no effect without a server")
        }
        if !redis.isEnabled, cache.outage != .local || limits.outage != .local || sessions.outage != .local {
            lines.append("CACHE_OUTAGE, RATE_LIMIT_OUTAGE and SESSION_OUTAGE have no effect without a server")
        } else if sessions.storage == .memory, sessions.outage != .local {
            lines.append("SESSION_OUTAGE has no effect with SESSION_STORAGE=memory: no outage touches such sessions")
        }
        if server.dataFolder == nil, server.journal != JournalConfiguration() {
            lines.append("HOLDFAST_APPENDFSYNC and HOLDFAST_AOF_… have no effect without HOLDFAST_DATA")
        }
        if !sessions.encryptionKeys.isEmpty {
            lines.append("TOKEN_ENCRYPTION_KEY is checked but not used: this version does not encrypt sessions")
        }
        return lines
    }
}
