import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

/// The users of the pages on sentinels and clusters, made on real ones by the lines that stand there: what the pages promise works as these
/// users, and the rest is refused with a typed error. The user of one server is tested by `DoctorPermissionTests`.
@Suite struct DocumentedUserTests {
    /// A user as the one line of a page makes him that begins so.
    private struct User {
        /// `ACL SETUSER <name> on ><password> <rules>`
        let command: [Bytes]

        init(_ name: String, of page: String) throws {
            let start = "ACL SETUSER \(name) on >"
            let lines = try SourceTree.text(of: "docs/connecting/\(page)").split(separator: "\n").filter { $0.hasPrefix(start) }
            try #require(lines.count == 1, "\(page): \(lines)")
            command = Self.words(String(lines[0]))
        }

        init(_ name: String, rules: String) {
            command = ["ACL", "SETUSER", Bytes(name), "on", ">secret"] + Self.words(rules)
        }

        var name: String { command[2].lossyString }
        var password: String { String(command[4].lossyString.dropFirst()) }

        func make(on servers: [RedisProcess]) async throws {
            for server in servers { #expect(try await server.ask(command: command) == .ok) }
        }

        /// Adds a rule to those he has.
        func change(_ rule: Bytes, on servers: [RedisProcess]) async throws {
            for server in servers { #expect(try await server.ask("ACL", "SETUSER", command[2], rule) == .ok) }
        }

        static func words(_ text: String) -> [Bytes] { text.split(separator: " ").map { Bytes(String($0)) } }
    }

    private func failure(_ call: () async throws -> Void) async -> StoreError? {
        do { try await call() } catch { return error as? StoreError }
        return nil
    }

    // MARK: - What works, and what does not

    /// A command of each family, alone and together, in a procedure, over channels, and on a connection for exclusive use.
    private func everyFamilyWorks(_ store: RedisStore, _ names: Namespace) async throws {
        // All in one slot.
        let key = names.key("main")
        let (count, hash, list) = (key.companion("count"), key.companion("hash"), key.companion("list"))
        let (set, scores) = (key.companion("set"), key.companion("scores"))
        try await store(.ping)
        try await store(.set(key, "v"))
        #expect(try await store(.get(key)) == "v")
        _ = try await store(.hset(hash, "field", "v"))
        _ = try await store(.rpush(list, ["a", "b"]))
        _ = try await store(.sadd(set, ["a"]))
        _ = try await store(.zadd(scores, "a", 1))
        #expect(try await store(.pexpire(key, .seconds(3600))))
        let (before, first) = try await store.transaction(.get(key), .incr(count))
        let (after, second) = try await store.pipeline(.get(key), .incr(count))
        #expect(before == "v" && after == "v" && first == 1 && second == 2)
        #expect(try await store.run(Procedure(Self.increment, keys: [count], arguments: []) { $0.integer }) == 3)

        let news = names.channel("news")
        try await store.withSubscription(to: [.channel(news), .pattern("holdfast:*")]) { subscription in
            _ = try await store(.publish(news, "hello"))
            var events = subscription.makeAsyncIterator()
            let message = Subscription.Event.message(channel: news, payload: "hello")
            #expect(await events.next() == message)
            #expect(await events.next() == message)
        }

        try await store.withConnection(to: key) { connection in
            try await connection.watch(key)
            let (_, third) = try await connection.transaction(.get(key), .incr(count))
            #expect(third == 4)
            #expect(try await connection(.raw("BLPOP", list.bytes, "10")).list == [list.bytes, "a"])
            #expect(try await connection(.raw("WAIT", "0", "1")).integer != nil)
        }

        var found: Set<Key> = []
        for try await page in store.scan(matching: names.glob(startingWith: ""), pageSize: 50) { found.formUnion(page) }
        #expect(found.contains(key))
    }

    private static let increment = Script(
        "test.documented", version: 1, lua: "return redis.call('INCR', KEYS[1])"
    ) { _, _, _, _ in .null }

    /// Keys, channels and patterns of others, and what is an administrator's.
    private func nothingElseWorks(_ store: RedisStore) async throws {
        let (key, channel) = (Key(raw: "others"), Channel("others"))
        for (name, call) in [
            ("a key", { try await store(.set(key, "x")) }),
            ("a procedure", { _ = try await store.run(Procedure(Self.increment, keys: [key], arguments: []) { $0 }) }),
            ("a transaction", { _ = try await store.transaction(.get(key), .incr(key)) }),
            ("publishing", { _ = try await store(.publish(channel, "x")) }),
            ("listening", { try await store.withSubscription(to: [.channel(channel)]) { _ in } }),
            // Only the pattern that is granted, to the letter.
            ("a pattern", { try await store.withSubscription(to: [.pattern("holdfast:news:*")]) { _ in } }),
            ("CONFIG", { _ = try await store(.raw("CONFIG", "SET", "maxmemory", "0")) }),
            ("FLUSHALL", { _ = try await store(.raw("FLUSHALL")) }),
            ("KEYS", { _ = try await store(.raw("KEYS", "holdfast:*")) }),
        ] as [(String, () async throws -> Void)] {
            let error = await failure(call)
            #expect(error?.code == .permissionMissing && error?.isServerFailure == false, "\(name): \(error as Any)")
        }
    }

    // MARK: - Sentinel

    @Test func throughSentinelsTheUsersOfThePageFindThePrimaryAndFollowIt() async throws {
        let set = try await SentinelSet.start()
        defer { set.stop() }
        let (app, watcher) = (try User("app", of: "sentinel.md"), try User("watcher", of: "sentinel.md"))
        let usual = try User("app", of: "standalone.md")
        #expect(app.command == usual.command + ["+role"], "the pages differ")
        try await app.make(on: set.servers)
        try await watcher.make(on: set.sentinels)
        let configuration = Self.configuration(set, app, watcher)
        #expect(try await configuration.primaryBySentinels()?.port == set.servers[0].port)
        let (store, names) = (try RedisStore(configuration), Namespace(prefix: "holdfast:app:"))
        try await everyFamilyWorks(store, names)
        try await nothingElseWorks(store)

        // Of the promotion it hears as that user too, who listens to both channels.
        try await eventually("no sentinel is listened to by the page's user") {
            for sentinel in set.sentinels {
                let clients = try await sentinel.ask("CLIENT", "LIST").bytes?.lossyString ?? ""
                let listens = clients.split(separator: "\n").contains { $0.contains(" sub=2 ") && $0.contains(" user=watcher") }
                if listens { return true }
            }
            return false
        }
        try await set.failOver()
        let key = names.key("after")
        try await eventually(within: .seconds(180), "the new primary is not followed") {
            guard (try? await store(.set(key, "promoted"))) != nil else { return false }
            return try await set.servers[1].ask("GET", key.bytes).bytes == "promoted"
        }
        await store.shutdown()
        try await theWatcherMayDoNothingElse(set, watcher)
        try await nothingOfThePageMayBeLeftOut(set, app, watcher)
    }

    private func theWatcherMayDoNothingElse(_ set: SentinelSet, _ watcher: User) async throws {
        let store = try RedisStore(
            RedisConfiguration(
                endpoint: .tcp(host: "127.0.0.1", port: set.sentinels[0].port), username: watcher.name, password: watcher.password
            ).patient)
        for (name, call) in [
            ("MASTERS", { _ = try await store(.raw("SENTINEL", "MASTERS")) }),
            ("FAILOVER", { _ = try await store(.raw("SENTINEL", "FAILOVER", Bytes(SentinelSet.name))) }),
            ("INFO", { _ = try await store(.info()) }),
            ("listening", { try await store.withSubscription(to: [.channel(Channel("+sdown"))]) { _ in } }),
        ] as [(String, () async throws -> Void)] {
            let error = await failure(call)
            #expect(error?.code == .permissionMissing, "\(name): \(error as Any)")
        }
        await store.shutdown()
    }

    /// Without the role no server is used, and without the address none is found: said as a refusal, which no outage is.
    private func nothingOfThePageMayBeLeftOut(_ set: SentinelSet, _ app: User, _ watcher: User) async throws {
        let configuration = Self.configuration(set, app, watcher)
        try await app.change("-role", on: set.servers)
        let store = try RedisStore(configuration)
        let unused = await failure { try await store(.ping) }
        #expect(unused?.code == .serverRefused && unused?.message.hasSuffix(" +role") == true, "\(unused as Any)")
        await store.shutdown()
        try await watcher.change("-sentinel|get-master-addr-by-name", on: set.sentinels)
        let unfound = await failure { _ = try await configuration.primaryBySentinels() }
        #expect(
            unfound?.code == .serverRefused && unfound?.message.contains("sentinel|get-master-addr-by-name") == true,
            "\(unfound as Any)")
    }

    private static func configuration(_ set: SentinelSet, _ app: User, _ watcher: User) -> RedisConfiguration {
        var configuration = set.configuration()
        if case .sentinel(var sentinel) = configuration.endpoint {
            (sentinel.username, sentinel.password) = (watcher.name, watcher.password)
            configuration.endpoint = .sentinel(sentinel)
        }
        (configuration.username, configuration.password) = (app.name, app.password)
        return configuration
    }

    // MARK: - Cluster

    @Test func onAClusterTheUserOfThePageMayDoWhatItPromises() async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        let (app, usual) = (try User("app", of: "cluster.md"), try User("app", of: "standalone.md"))
        #expect(app.command == usual.command, "the pages differ")
        try await app.make(on: cluster.nodes)
        try await everythingWorks(on: cluster, as: app)
    }

    /// Who may do with keys and channels what the services do, and beside that only what the page says that finding the nodes takes.
    @Test func onAClusterTheRulesOfThePageAreEnoughForAUserWithFew() async throws {
        let cluster = try await ClusterSet.start()
        defer { cluster.stop() }
        let families = "+@read +@write +@transaction +@scripting +@pubsub +time +wait -@dangerous"
        let least = User("least", rules: "~holdfast:* ~{holdfast:* &holdfast:* \(families)")
        try await least.make(on: cluster.nodes)
        let page = try SourceTree.text(of: "docs/connecting/cluster.md")
        let sentence = try #require(page.split(separator: "\n").first { $0.hasPrefix("Finding the nodes takes `") })
        // What stands in backticks: the rules for all, and the one for raw commands.
        let quoted = sentence.split(separator: "`").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        let rules = quoted.flatMap { User.words(String($0)) }
        try #require(rules.count > 5 && rules.allSatisfy { $0.lossyString.hasPrefix("+") }, "\(rules)")
        for rule in rules {
            let words = rule.lossyString.dropFirst().split(separator: "|").map { Bytes(String($0)) }
            let question: [Bytes] = ["ACL", "DRYRUN", "least"] + words
            #expect(try await cluster.nodes[0].ask(command: question) != .ok, "\(rule) is granted by another rule already")
            try await least.change(rule, on: cluster.nodes)
            #expect(try await cluster.nodes[0].ask(command: question) == .ok, "\(rule)")
        }
        try await everythingWorks(on: cluster, as: least)

        // Without them it is said what is missing, as a refusal, which no outage is.
        let key = Key(raw: "holdfast:k")
        for (rule, code) in [("-command", ErrorCode.permissionMissing), ("-cluster|slots", ErrorCode.serverRefused)] {
            try await least.change(Bytes(rule), on: cluster.nodes)
            let store = try RedisStore(Self.configuration(cluster, least))
            let error = await failure { _ = try await store(.raw("XLEN", key.bytes)) }
            #expect(error?.code == code && error?.message.contains(rule.dropFirst()) == true, "\(rule): \(error as Any)")
            await store.shutdown()
        }
    }

    private static func configuration(_ cluster: ClusterSet, _ user: User) -> RedisConfiguration {
        var configuration = cluster.configuration()
        (configuration.username, configuration.password) = (user.name, user.password)
        return configuration
    }

    private func everythingWorks(on cluster: ClusterSet, as user: User) async throws {
        let store = try RedisStore(Self.configuration(cluster, user))
        let names = Namespace(prefix: "holdfast:\(user.name):")
        try await everyFamilyWorks(store, names)
        try await whatTheTableOfThePageSaysWorks(store, names)
        try await aSlotOnItsWayIsFollowed(store, cluster, names)
        try await nothingElseWorks(store)
        await store.shutdown()
        try await replicasAnswer(cluster, user, names)
    }

    /// Over all nodes, to each of them, over shard channels, and what only the server knows.
    private func whatTheTableOfThePageSaysWorks(_ store: RedisStore, _ names: Namespace) async throws {
        let keys = (0..<30).map { names.key("k:\(Int64($0))") }
        _ = try await store.pipeline(keys.map { .set($0, "v") })
        let values = try await store(.mget(keys))
        #expect(values.count == 30 && values.allSatisfy { $0 == "v" })
        #expect(try await store(.exists(keys)) == 30)
        #expect(try await store(.touch(keys)) == 30)
        #expect(try await store(.dbsize) >= 30)
        #expect(try await !store(.raw("RANDOMKEY")).isNull)
        #expect(try await store(.unlink(Array(keys.prefix(10)))) == 10)
        #expect(try await store(.del(keys)) == 20)

        let digest = try #require(try await store(.raw("SCRIPT", "LOAD", "return 7")).bytes)
        #expect(try await store(.raw("SCRIPT", "EXISTS", digest)).elements == [.integer(1)])
        #expect(try await store(.raw("SCRIPT", "FLUSH")) == .ok)
        let library: Bytes = "#!lua name=documented\nredis.register_function('documented', function() return 1 end)"
        #expect(try await store(.raw("FUNCTION", "LOAD", library)).bytes == "documented")
        #expect(try await store(.raw("FUNCTION", "DELETE", "documented")) == .ok)

        let shard = names.channel("shard")
        try await store.withSubscription(to: [.shardChannel(shard)]) { subscription in
            _ = try await store(.spublish(shard, "hello"))
            var events = subscription.makeAsyncIterator()
            let message = Subscription.Event.message(channel: shard, payload: "hello")
            #expect(await events.next() == message)
        }

        // Where its keys stand is asked of the server: by COMMAND INFO, and for XREAD by COMMAND GETKEYS.
        let stream = names.key("stream").bytes
        #expect(try await store(.raw("XADD", stream, "1-1", "f", "v")).bytes == "1-1")
        #expect(try await store(.raw("XLEN", stream)).integer == 1)
        #expect(try await store(.raw("XREAD", "COUNT", "5", "STREAMS", stream, "0")).elements?.isEmpty == false)
    }

    /// By ASKING while it moves, and by the table afterwards.
    private func aSlotOnItsWayIsFollowed(_ store: RedisStore, _ cluster: ClusterSet, _ names: Namespace) async throws {
        let key = names.key("moving")
        let slot = ClusterSlot.of(key)
        let home = try #require(ClusterSet.slots.firstIndex { $0.contains(slot) })
        let away = (home + 1) % 3
        try await cluster.beginMove(of: slot, from: home, to: away)
        try await store(.set(key, "asked"))
        #expect(try await store(.get(key)) == "asked")
        try await cluster.endMove(of: slot, to: away)
        #expect(try await store(.get(key)) == "asked")
        #expect(try await cluster.nodes[away].ask("GET", key.bytes).bytes == "asked")
    }

    private func replicasAnswer(_ cluster: ClusterSet, _ user: User, _ names: Namespace) async throws {
        var configuration = Self.configuration(cluster, user)
        guard case .cluster(var nodes) = configuration.endpoint else { return }
        nodes.readsFromReplicas = true
        configuration.endpoint = .cluster(nodes)
        let store = try RedisStore(configuration)
        let key = names.key("read")
        let home = try #require(ClusterSet.slots.firstIndex { $0.contains(ClusterSlot.of(key)) })
        try await store(.set(key, "v"))
        try await eventually("the replica does not follow") { try await store(.get(key)) == "v" }
        // Only who has said READONLY bears an r.
        let clients = try await cluster.nodes[home + 3].ask("CLIENT", "LIST").bytes?.lossyString ?? ""
        let readers = clients.split(separator: "\n").filter { client in
            client.contains(" user=\(user.name) ")
                && client.split(separator: " ").contains { $0.hasPrefix("flags=") && $0.contains("r") }
        }
        #expect(!readers.isEmpty, "\(clients)")
        await store.shutdown()
    }
}
