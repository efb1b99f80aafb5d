import Foundation
import Holdfast
import HoldfastRedis
import HoldfastStore
import TestServers
import Testing

/// `holdfast doctor` as a user of a real Redis whose permissions are not enough, and what it says to change.
@Suite struct DoctorPermissionTests {
    /// A Redis with one user, and what doctor says to that user.
    private struct Clinic {
        static let environment = [
            "REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw", "REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s",
        ]

        let redis: RedisProcess
        let holdfast: CommandLineProgram

        init(_ rules: String) async throws {
            redis = try await RedisProcess.start()
            holdfast = try CommandLineProgram()
            #expect(try await redis.ask(command: Self.grant("on >pw resetchannels " + rules)) == .ok)
        }

        static func grant(_ rules: String) -> [Bytes] {
            ["ACL", "SETUSER", "app"] + rules.split(separator: " ").map { Bytes(String($0)) }
        }

        func examine(_ environment: [String: String] = [:]) async throws -> (status: Int32, findings: [JSONValue]) {
            let all = ["REDIS_URL": "redis://127.0.0.1:\(redis.port)"].merging(Self.environment) { $1 }.merging(environment) {
                $1
            }
            let result = try await holdfast("doctor", "--json", environment: all)
            return (result.status, JSONValue(json: result.output.utf8)?["findings"]?.array ?? [])
        }

        /// The same permissions for a client of the test.
        var configuration: RedisConfiguration {
            RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: redis.port), username: "app", password: "pw").patient
        }
    }

    private static let enough = "~holdfast:* ~{holdfast:* &holdfast:* +@all"

    private static func isBad(_ finding: JSONValue) -> Bool { finding["state"] != "ok" }

    // MARK: - What is enough

    /// The line of the documentation, as it stands there.
    @Test func withTheDocumentedUserNothingIsMissing() async throws {
        let page = try SourceTree.text(of: "docs/connecting/standalone.md")
        let start = "ACL SETUSER app on >secret "
        let line = try #require(page.split(separator: "\n").first { $0.hasPrefix(start) }, "the page has no such line")
        let clinic = try await Clinic(String(line.dropFirst(start.count)))
        defer { clinic.redis.stop() }
        let (status, findings) = try await clinic.examine()
        #expect(status == 0 && findings.count > 10 && !findings.contains(where: Self.isBad), "\(findings.filter(Self.isBad))")
        try await everythingWorks(clinic)
    }

    /// What only a slot that is being moved takes is missed before that.
    @Test func onAClusterItAsksForWhatReshardingTakes() async throws {
        let cluster = try await SharedCluster.servers()
        let nodes = cluster.nodes.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        func grant(_ rules: String) async throws {
            let command = ["ACL", "SETUSER", "resharder"] + rules.split(separator: " ").map { Bytes(String($0)) }
            for node in cluster.nodes { #expect(try await node.ask(command: command) == .ok) }
        }
        func bad() async throws -> [JSONValue] {
            let result = try await CommandLineProgram()(
                "doctor", "--json",
                environment: Clinic.environment.merging(["REDIS_CLUSTER_NODES": nodes, "REDIS_USERNAME": "resharder"]) { $1 })
            return (JSONValue(json: result.output.utf8)?["findings"]?.array ?? [["state": "no output"]]).filter(Self.isBad)
        }
        try await grant("on >pw resetchannels \(Self.enough) -asking -cluster|info")
        let found = try await bad()
        #expect(found.count == 1 && found[0]["check"] == "Commands", "\(found)")
        #expect(found.first?["message"]?.string?.contains("ACL SETUSER resharder +cluster|info +asking") == true, "\(found)")
        // As the page says.
        try await grant("-@all +@all -@dangerous +info +module|list +client|kill")
        #expect(try await bad() == [])
    }

    /// Whoever does what doctor says, and nothing else, ends with a user for whom doctor has nothing to say and everything works.
    @Test func followingItsAdviceLeadsFromNothingToEnough() async throws {
        let clinic = try await Clinic("")
        defer { clinic.redis.stop() }
        var bad: [JSONValue] = []
        for _ in 0..<20 {
            bad = try await clinic.examine().findings.filter(Self.isBad)
            let rules = bad.flatMap { Self.rules($0["message"]?.string ?? "") }
            guard !rules.isEmpty else { break }
            #expect(try await clinic.redis.ask(command: Clinic.grant(rules.joined(separator: " "))) == .ok)
        }
        #expect(bad.isEmpty, "\(bad)")
        try await everythingWorks(clinic)
    }

    /// What stands behind `ACL SETUSER app` in a line.
    private static func rules(_ message: String) -> [String] {
        guard let start = message.firstRange(of: "ACL SETUSER app ")?.upperBound else { return [] }
        return message[start...].split(separator: " ").prefix { "+~&".contains($0.first ?? " ") }
            .map { String($0.prefix { !",;)".contains($0) }) }
    }

    /// Uses every service as this user, and looks whether Redis has refused anything.
    private func everythingWorks(_ clinic: Clinic) async throws {
        #expect(try await clinic.redis.ask("ACL", "LOG", "RESET") == .ok)
        let store = try RedisStore(clinic.configuration)
        let failover = Failover(server: store, local: EmbeddedStore())
        let state = AgentState(failover: failover)
        await failover.start()
        try await useCache(state.cache, state.scoped(to: "acme").cache)
        try await useSessions(state.sessions)
        try await useLimits(state.limits)
        try await useRest(state, store)
        let watch = Task { try await state.run() }
        try await eventually("it has its lease") { try await clinic.redis.ask("EXISTS", "holdfast:instances").integer == 1 }
        watch.cancel()
        _ = await watch.result
        await store.shutdown()
        let refused = try await clinic.redis.ask("ACL", "LOG").elements ?? []
        #expect(refused.isEmpty, "\(refused)")
    }

    private func useCache(_ caches: Cache...) async throws {
        for cache in caches {
            try await cache.set("a", 1)
            try await cache.setMany(["b": 1, "c": 2])
            try await cache.set("a", 2, if: .present)
            _ = try await cache.getMany(["a", "b", "none"], as: Int.self)
            _ = try await cache.getOrSet("d") { 1 }
            _ = try await cache.refresh("d") { 2 }
            _ = try await cache.ttl("a")
            _ = try await cache.entry("a")
            _ = try await cache.keys()
            _ = try await cache.delete("a")
            _ = try await cache.invalidate("b*")
            _ = try await cache.clear()
        }
    }

    private func useSessions(_ sessions: Sessions) async throws {
        let first = try await sessions.create(userID: "ann", data: ["a": 1])
        let talk = try await sessions.create(userID: "ann", kind: .conversation, once: .random())
        _ = try await sessions.get(first.id)
        _ = try await sessions.get(first.id, touch: false)
        _ = try await sessions.update(first.id, set: ["a": 2], remove: ["b"])
        _ = try await sessions.append([NewSessionMessage(role: "user", content: "hello")], to: talk.id)
        _ = try await sessions.extend(talk.id, by: .seconds(7200), once: .random())
        let rotated = try await sessions.rotate(first.id)
        _ = try await sessions.list(userID: "ann")
        _ = try await sessions.count(userID: "ann")
        _ = try await sessions.delete(talk.id)
        _ = try await sessions.revokeAll(userID: "ann", keeping: rotated.id)
        _ = try await sessions.revokeAll(userID: "ann")
        _ = try await sessions.cleanup()
    }

    private func useLimits(_ limits: RateLimiter) async throws {
        let subject = RateLimitSubject.user("ann")
        _ = try await limits.check(subject, once: .random())
        _ = try await limits.peek(subject)
        try await limits.reset(subject)
        for algorithm in RateLimit.Algorithm.allCases {
            let charge = RateLimitCharge(
                RateLimit("rule-\(algorithm)", algorithm, limit: 10, per: .seconds(60)), for: subject, cost: 1)
            _ = try await limits.check([charge])
            _ = try await limits.record([charge])
            _ = try await limits.refund([charge])
        }
    }

    private func useRest(_ state: AgentState, _ store: RedisStore) async throws {
        let idempotency = Idempotency(failover: state.failover, namespace: state.namespace)
        if case .begun(let attempt) = try await idempotency.begin(key: "k", of: "me", content: "x").value {
            _ = try await idempotency.complete(attempt, with: "answer")
        }
        let (manager, key) = (TTLManager(store: store, namespace: state.namespace), state.namespace.key("manual"))
        _ = try await store.getAndSet(key, "1")
        _ = try await store.compareAndSet(key, expected: "1", new: "2")
        _ = try await store.increment(key, ceiling: 10)
        _ = try await manager.set(key, to: .seconds(60))
        _ = try await manager.timeToLive(key)
        _ = try await manager.persist(key)
        _ = try await manager.sweep(startingWith: "manual", to: .seconds(60))
        _ = try await store.compareAndDelete(key, expected: "3")
        let report = await Health(failover: state.failover, namespace: state.namespace).report()
        #expect(report.totalKeys != nil && report.statistics != nil)
    }

    // MARK: - What is missing

    @Test(arguments: [
        // What is taken away, the check that tells, its state, and the rule to add.
        ("-~{", "Write", "failed", "ACL SETUSER app ~{holdfast:*"),
        ("-~", "Write", "failed", "ACL SETUSER app ~holdfast:*"),
        ("-eval", "Scripts", "failed", "ACL SETUSER app +eval"),
        ("-evalsha", "Scripts", "failed", "ACL SETUSER app +evalsha"),
        ("-@scripting", "Scripts", "failed", "ACL SETUSER app +evalsha +eval"),
        ("-hset -zadd", "Commands", "failed", "ACL SETUSER app +hset +zadd"),
        ("-multi", "Commands", "failed", "ACL SETUSER app +multi +exec"),
        ("-exec", "Commands", "failed", "ACL SETUSER app +multi +exec"),
        ("-dbsize", "Commands", "failed", "ACL SETUSER app +dbsize"),
        ("-getrange", "Commands", "failed", "ACL SETUSER app +getrange"),
        ("-&", "Channels", "failed", "ACL SETUSER app &holdfast:*"),
        ("-publish", "Channels", "failed", "ACL SETUSER app +publish"),
        ("-subscribe", "Channels", "failed", "ACL SETUSER app +subscribe +unsubscribe"),
        ("-info", "Version", "warning", "ACL SETUSER app +info"),
        ("-client|tracking", "Near cache", "warning", "ACL SETUSER app +client|tracking"),
        ("-client|kill", "Fencing", "warning", "ACL SETUSER app +client|kill"),
        ("-client|id -client|info", "Fencing", "warning", "ACL SETUSER app +client|id +client|info"),
    ])
    func whatIsMissingIsSaidInOneLine(taken: String, check: String, state: String, rule: String) async throws {
        let patterns = ["-~{": "~{holdfast:*", "-~": "~holdfast:*", "-&": "&holdfast:*"]
        let rules =
            patterns[taken].map { pattern in
                Self.enough.split(separator: " ").filter { $0 != pattern }.joined(separator: " ")
            } ?? Self.enough + " " + taken
        let clinic = try await Clinic(rules)
        defer { clinic.redis.stop() }
        let (status, findings) = try await clinic.examine()
        #expect(status == (state == "failed" ? 1 : 0))
        let bad = findings.filter(Self.isBad)
        let lines = bad.filter { $0["check"]?.string == check && $0["state"]?.string == state }
        #expect(lines.count == 1, "\(findings)")
        #expect(lines.first?["message"]?.string?.contains(rule) == true, "\(bad)")
        #expect(bad.allSatisfy { $0["message"]?.string?.contains(where: \.isNewline) == false })
        #expect(bad.allSatisfy { $0["message"]?.string?.contains("<user>") == false }, "\(bad)")
        if check == "Fencing" {
            #expect(lines.first?["message"]?.string?.contains("may then overwrite newer ones") == true, "\(lines)")
        }
        #expect(try await clinic.redis.ask("DBSIZE").integer == 0, "something was left behind")
    }

    /// What only finding the server takes.
    @Test func behindSentinelsItMustBeAbleToAskForTheRole() async throws {
        let set = try await SharedSentinels.servers()
        let primary = try #require(set.servers.first)
        let environment = Clinic.environment.merging([
            "REDIS_SENTINELS": set.sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ","),
            "REDIS_SENTINEL_MASTER": SentinelSet.name, "REDIS_USERNAME": "doctor",
        ]) { $1 }
        for (rule, isEnough) in [("-role", false), ("+role", true)] {
            let rules = "on >pw \(Self.enough) \(rule)".split(separator: " ").map { Bytes(String($0)) }
            #expect(try await primary.ask(command: ["ACL", "SETUSER", "doctor"] + rules) == .ok)
            let result = try await CommandLineProgram()("doctor", environment: environment)
            #expect(result.status == (isEnough ? 0 : 1), "\(result)")
            #expect(result.output.contains("ACL SETUSER doctor +role") != isEnough, "\(result)")
        }
    }

    /// What is special in a pattern is meant literally in a prefix.
    @Test func theRuleIsAPatternForThePrefix() async throws {
        let clinic = try await Clinic("+@all")
        defer { clinic.redis.stop() }
        var bad: [JSONValue] = []
        for _ in 0..<5 {
            bad = try await clinic.examine(["REDIS_KEY_PREFIX": "a*b[1]:"]).findings.filter(Self.isBad)
            let rules = bad.flatMap { Self.rules($0["message"]?.string ?? "") }
            guard !rules.isEmpty else { break }
            #expect(try await clinic.redis.ask(command: Clinic.grant(rules.joined(separator: " "))) == .ok)
        }
        #expect(bad.isEmpty, "\(bad)")
        #expect(try await clinic.redis.ask("ACL", "DRYRUN", "app", "GET", #"{a*b[1]:x"#) == .ok)
        #expect(try await clinic.redis.ask("ACL", "DRYRUN", "app", "GET", "axb1:x") != .ok)
    }
}
