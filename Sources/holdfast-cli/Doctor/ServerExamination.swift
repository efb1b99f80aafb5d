import HoldfastRedis
import HoldfastStore

/// Looks at a Redis that lets us in: speed, version, eviction, and whether we may do what the services need.
struct ServerExamination {
    let store: RedisStore
    let grant: Grant
    /// The commands that finding the server's keys takes besides.
    var topologyCommands: [[Bytes]] = []

    func findings() async -> [Finding] {
        var findings = [await ping()]
        do {
            let facts = Self.facts(try await store(.info()))
            findings += [version(facts), eviction(facts)]
        } catch {
            findings.append(.doubtful("Version", "version and eviction stay unknown: \(grant.line(error))"))
        }
        findings.append(await capabilities())
        findings += await PermissionExamination(store: store, grant: grant, topologyCommands: topologyCommands).findings()
        findings.append(await NearCacheExamination(store: store, grant: grant).finding())
        return findings
    }

    /// The best of several, because the first pays for the connection.
    private func ping() async -> Finding {
        var best = Duration.seconds(3600)
        do {
            for _ in 0..<5 {
                let clock = ContinuousClock()
                let start = clock.now
                try await store(.ping)
                best = min(best, clock.now - start)
            }
        } catch { return .wrong("PING", grant.line(error)) }
        let microseconds = best.components.attoseconds / 1_000_000_000_000 + best.components.seconds * 1_000_000
        let text = microseconds < 1000 ? "\(microseconds) µs" : "\(microseconds / 1000) ms"
        return microseconds > 50_000
            ? .doubtful("PING", "\(text): slow; is the server near, and not busy?") : .right("PING", text)
    }

    private func version(_ facts: [Substring: Substring]) -> Finding {
        let isValkey = facts["server_name"] == "valkey"
        let name = isValkey ? "Valkey" : "Redis"
        guard let text = (isValkey ? facts["valkey_version"] : nil) ?? facts["redis_version"] else {
            return .doubtful("Version", "the server does not say its version")
        }
        let numbers = text.split(separator: ".").compactMap { Int($0) }
        let oldest = isValkey ? [7, 2] : [7, 0]
        return numbers.lexicographicallyPrecedes(oldest)
            ? .wrong("Version", "\(name) \(text) is too old: Redis 7.0 or Valkey 7.2 at least")
            : .right("Version", "\(name) \(text)")
    }

    /// What the server has, and what it has not, of what differs between servers.
    private func capabilities() async -> Finding {
        let found: ServerCapabilities
        do { found = try await store.capabilities() } catch {
            return .doubtful("Capabilities", "what the server can do stays unknown: \(grant.line(error))")
        }
        let has = ServerCapabilities.Feature.allCases.filter(found.features.contains).map(\.rawValue)
        // What the user may not ask for is not known, and not absent.
        let untold = found.refusedQuestions
        let lacks = ServerCapabilities.Feature.allCases.filter { feature in
            !found.features.contains(feature) && !untold.contains(feature == .scriptFlags ? "EVAL" : "COMMAND")
        }.map(\.rawValue)
        let parts = [
            untold.contains("HELLO") ? "" : found.speaksRESP3 ? "RESP3" : "RESP2", found.mode,
            untold.contains("MODULE")
                ? "" : found.modules.isEmpty ? "no modules" : "modules \(found.modules.joined(separator: ", "))",
            has.isEmpty ? "" : "has \(has.joined(separator: ", "))",
            lacks.isEmpty ? "" : "has not \(lacks.joined(separator: ", "))",
            untold.isEmpty ? "" : "not known, because the user may not call it: \(untold.sorted().joined(separator: ", "))",
        ]
        return .right("Capabilities", parts.filter { !$0.isEmpty }.joined(separator: "; "))
    }

    private func eviction(_ facts: [Substring: Substring]) -> Finding {
        guard let policy = facts["maxmemory_policy"] else { return .doubtful("Eviction", "the server does not say its policy") }
        if policy == "noeviction" { return .right("Eviction", "noeviction: the server throws nothing away") }
        let limit = facts["maxmemory"] == "0" ? ", once maxmemory is set" : ""
        return .doubtful(
            "Eviction",
            "\(policy) may throw away sessions and limits\(limit): `CONFIG SET maxmemory-policy noeviction`, or use it for caches only"
        )
    }

    /// The `name:value` lines of INFO.
    static func facts(_ info: String) -> [Substring: Substring] {
        var facts: [Substring: Substring] = [:]
        for line in info.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { facts[parts[0]] = parts[1] }
        }
        return facts
    }
}
