public import HoldfastStore

/// What a store says of itself by INFO, as far as Holdfast looks at it.
public struct StoreStatistics: Sendable, Hashable {
    private let lines: [String: String]

    /// - Parameter info: `name:value` lines under `# Section` headings.
    public init(info: String) {
        var lines: [String: String] = [:]
        for line in info.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { lines[String(parts[0])] = String(parts[1]) }
        }
        self.lines = lines
    }

    public func text(_ name: String) -> String? { lines[name] }
    public func number(_ name: String) -> Double? { lines[name].flatMap(Double.init) }

    public var version: String? { text("valkey_version") ?? text("redis_version") }
    public var usedMemory: Int? { number("used_memory").map { Int($0) } }
    public var connectedClients: Int? { number("connected_clients").map { Int($0) } }
    public var operationsPerSecond: Int? { number("instantaneous_ops_per_sec").map { Int($0) } }

    /// Hits of all look-ups since the server began; nil before the first 100, which say nothing.
    public var hitRate: Double? {
        guard let hits = number("keyspace_hits"), let misses = number("keyspace_misses"), hits + misses >= 100 else { return nil }
        return hits / (hits + misses)
    }
}

/// The answer of ``Health/report()``.
public struct HealthReport: Sendable {
    public let status: Health.Status
    public let server: Health.Server
    public let checks: [HealthCheck]
    /// Of the store in use: the server while it is there, else this process's. Nil where it does not answer.
    public let statistics: StoreStatistics?
    /// Keys in the database, whatever their prefix; nil where the store does not answer.
    public let totalKeys: Int?
    /// The append-only file of the store in this process; nil where it keeps its entries in memory only.
    public let journal: JournalStatus?
}

extension Health {
    /// Probes the store in use: a ping, a canary that is written, read and removed, a message that is published and received, and
    /// the figures of INFO, each against its thresholds. About ten round trips; each probe gives up after two seconds.
    public func report() async -> HealthReport {
        let store = failover.localSince == nil ? failover.server ?? failover.local : failover.local
        var checks = [await ping(store), await canary(store), await publication(store)]
        var statistics: StoreStatistics?
        if let info = try? await within({ () async throws(StoreError) in try await store(.info()) }) {
            let found = StoreStatistics(info: info)
            checks += figures(found)
            statistics = found
        }
        let keys = try? await within { () async throws(StoreError) in try await store(.dbsize) }
        let worst: Status = checks.contains { $0.level != .ok } ? .degraded : .healthy
        let isBroken = checks.contains { $0.level == .critical && $0.value == nil }
        return HealthReport(
            status: max(status, isBroken ? .unhealthy : worst), server: server, checks: checks, statistics: statistics,
            totalKeys: keys, journal: journal)
    }

    private func within<Output: Sendable>(
        _ body: () async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        try await CallContext.within(.seconds(2), by: failover.time, as: "holdfast.health").run(body)
    }

    private func milliseconds(since start: Duration) -> Double {
        // To a microsecond: what is finer is the clock's noise.
        ((failover.time.uptime - start).inSeconds * 1_000_000).rounded() / 1000
    }

    private func ping(_ store: any Store) async -> HealthCheck {
        let start = failover.time.uptime
        do throws(StoreError) {
            try await within { () async throws(StoreError) in try await store(.ping) }
            return HealthCheck("ping", milliseconds(since: start), unit: "ms", .ping)
        } catch {
            return HealthCheck("ping", .critical, unit: "ms", thresholds: .ping, message: error.message)
        }
    }

    /// Writes a random value, reads it back and removes it.
    private func canary(_ store: any Store) async -> HealthCheck {
        let token = Bytes(String(UInt64.random(in: .min ... .max), radix: 16))
        let key = namespace.key("health:canary:\(token.lossyString)")
        let start = failover.time.uptime
        do throws(StoreError) {
            let read = try await within { () async throws(StoreError) -> Bytes? in
                try await store.pipeline(.set(key, token, expiration: .after(.seconds(10))), .get(key), .unlink([key])).1
            }
            guard read == token else {
                return HealthCheck(
                    "command", .critical, unit: "ms", thresholds: .command, message: "The canary was not read back")
            }
            return HealthCheck("command", milliseconds(since: start), unit: "ms", .command)
        } catch {
            return HealthCheck("command", .critical, unit: "ms", thresholds: .command, message: error.message)
        }
    }

    /// Publishes to a channel of its own and waits for the message.
    private func publication(_ store: any Store) async -> HealthCheck {
        let token = Bytes(String(UInt64.random(in: .min ... .max), radix: 16))
        let channel = namespace.channel("health:canary:\(token.lossyString)")
        let start = failover.time.uptime
        let arrived = await withinTwoSeconds {
            try await store.withSubscription(to: [.channel(channel)]) { subscription in
                _ = try await store(.publish(channel, token))
                for await event in subscription where event == .message(channel: channel, payload: token) { return true }
                return false
            }
        }
        guard arrived else {
            return HealthCheck(
                "publish", .critical, unit: "ms", thresholds: .command, message: "The published message did not arrive")
        }
        return HealthCheck("publish", milliseconds(since: start), unit: "ms", .command)
    }

    /// What the body answers; false where it throws or takes too long.
    private func withinTwoSeconds(_ body: @escaping @Sendable () async throws -> Bool) async -> Bool {
        let time = failover.time
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask { (try? await body()) ?? false }
            group.addTask {
                try? await time.sleep(for: .seconds(2))
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }

    private func figures(_ statistics: StoreStatistics) -> [HealthCheck] {
        var checks: [HealthCheck] = []
        if let used = statistics.number("used_memory"), let limit = statistics.number("maxmemory"), limit > 0 {
            checks.append(HealthCheck("memory", used / limit, unit: "ratio", .memory))
        }
        // Of a nearly empty server the ratio says nothing: its code alone is many times its data.
        if let ratio = statistics.number("mem_fragmentation_ratio"), (statistics.usedMemory ?? 0) > 64 << 20 {
            checks.append(HealthCheck("fragmentation", ratio, unit: "ratio", .fragmentation))
        }
        if let rate = statistics.hitRate { checks.append(HealthCheck("hit_rate", rate, unit: "ratio", .hitRate)) }
        if let clients = statistics.number("connected_clients"), let limit = statistics.number("maxclients"), limit > 0 {
            checks.append(HealthCheck("clients", clients / limit, unit: "ratio", .clients))
        }
        if let blocked = statistics.number("blocked_clients") {
            checks.append(HealthCheck("blocked_clients", blocked, unit: "clients", .blockedClients))
        }
        // This process's own store evicts nothing but cache entries.
        let isServer = failover.server != nil && !failover.decider.isLocal
        if isServer, let policy = statistics.text("maxmemory_policy"), policy != "noeviction" {
            checks.append(
                HealthCheck(
                    "eviction", .warning, message: "The server may evict sessions and jobs: maxmemory-policy is \(policy)"))
        }
        return checks
    }
}
