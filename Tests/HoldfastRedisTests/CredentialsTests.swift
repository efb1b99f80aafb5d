import HoldfastStore
import TestServers
import Testing

@testable import HoldfastRedis

@Suite struct CredentialsTests {
    private func failure<R>(_ body: () async throws -> R) async -> StoreError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? StoreError
        }
    }

    private func server(_ users: String...) async throws -> RedisProcess {
        var options = RedisProcess.Options()
        options.users = users
        return try await RedisProcess.start(options)
    }

    private func admin(_ server: RedisProcess) throws -> RedisStore {
        try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)).patient)
    }

    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp2, .resp3])
    func aUserWhoNeedsNoPasswordIsNotTheDefaultUser(version: RedisConfiguration.ProtocolVersion) async throws {
        let server = try await server("user guest on nopass ~* &* +@all")
        defer { server.stop() }
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), username: "guest").patient
        configuration.protocolVersion = version
        let store = try RedisStore(configuration)
        #expect(try await store(.raw("ACL", "WHOAMI")).bytes == "guest")
        await store.shutdown()
    }

    @Test func noDescriptionShowsAPassword() {
        let sentinel = RedisConfiguration.Sentinel(nodes: [.init(host: "h", port: 1)], primary: "main", password: "hunter2")
        var configuration = RedisConfiguration(endpoint: .sentinel(sentinel), username: "ann", password: "hunter2")
        configuration.credentials = { .init(username: "ann", password: "hunter2") }
        let credentials = RedisConfiguration.Credentials(username: "ann", password: "hunter2")
        for value in [sentinel, configuration, credentials, Optional(configuration) as Any] as [Any] {
            var dumped = ""
            dump(value, to: &dumped)
            for text in ["\(value)", String(reflecting: value), dumped] { #expect(!text.contains("hunter2"), "\(text)") }
        }
        #expect("\(configuration)".contains("ann") && "\(configuration)".contains("h:1"))
    }

    /// Whoever renames AUTH is answered with its arguments.
    @Test func noErrorQuotesThePassword() async throws {
        let unknown = "-ERR unknown command 'X', with args beginning with: '3' 'AUTH' 'ann' 'hunter2' \r\n"
        let peer = try await ScriptedPeer.start(greeting: unknown) { _ in unknown }
        let store = try RedisStore(
            RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port), username: "ann", password: "hunter2").patient)
        let error = await failure { try await store(.get(Key(raw: "k"))) }
        #expect(error?.code == .serverRefused)
        #expect(error?.message == "ERR unknown command 'X'")
        await store.shutdown()
        try await peer.stop()
    }

    @Test func aPasswordThatChangesIsAskedForAgainAndNothingIsRestarted() async throws {
        let server = try await server("user ann on >first ~* &* +@all")
        defer { server.stop() }
        let password = Locked("first")
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)).patient
        configuration.credentials = { .init(username: "ann", password: password.withLock { $0 }) }
        let store = try RedisStore(configuration)
        #expect(try await store(.raw("ACL", "WHOAMI")).bytes == "ann")
        let admin = try admin(server)
        _ = try await admin(.raw("ACL", "SETUSER", "ann", "resetpass", ">second"))
        // The old one is refused now, the new one taken; the connection is the same throughout.
        let connection = try await store(.raw("CLIENT", "ID"))
        let refusal = await failure { try await store.reauthenticate() }
        #expect(refusal?.code == .serverRefused)
        #expect(refusal?.message.contains("Check the user name and the password") == true)
        #expect(try await store(.raw("CLIENT", "ID")) == connection)
        password.withLock { $0 = "second" }
        try await store.reauthenticate()
        #expect(try await store(.raw("CLIENT", "ID")) == connection)
        // And a new connection shows the new one by itself.
        _ = try await admin(.raw("CLIENT", "KILL", "USER", "ann"))
        try await eventually("it is lost") { !store.isConnected }
        #expect(try await store(.raw("ACL", "WHOAMI")).bytes == "ann")
        #expect(try await store(.raw("CLIENT", "ID")) != connection)
        await store.shutdown()
        await admin.shutdown()
    }

    @Test(arguments: [RedisConfiguration.ProtocolVersion.resp3, .resp2])
    func listenersShowNewCredentialsToo(_ version: RedisConfiguration.ProtocolVersion) async throws {
        let server = try await server("user ann on >first ~* &* +@all", "user bob on >second ~* &* +@all")
        defer { server.stop() }
        let now = Locked(RedisConfiguration.Credentials(username: "ann", password: "first"))
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)).patient
        configuration.credentials = { now.withLock { $0 } }
        configuration.protocolVersion = version
        let store = try RedisStore(configuration)
        let admin = try admin(server)
        let channel = Channel("c")
        try await store(.ping)
        try await store.withSubscription(to: [.channel(channel)]) { subscription in
            now.withLock { $0 = .init(username: "bob", password: "wrong") }
            let refusal = await failure { try await store.reauthenticate() }
            #expect(refusal?.code == .serverRefused)
            now.withLock { $0 = .init(username: "bob", password: "second") }
            try await store.reauthenticate()
            var events = subscription.makeAsyncIterator()
            if version == .resp2 { #expect(await events.next() == .gap(missed: nil)) }
            // Nobody is ann any more, and whoever was would be gone with her.
            _ = try await admin(.raw("ACL", "DELUSER", "ann"))
            #expect(try await admin(.raw("CLIENT", "LIST")).bytes?.lossyString.contains("user=ann") == false)
            try await eventually("it does not hear") { try await store(.publish(channel, "still")) == 1 }
            #expect(await events.next() == .message(channel: channel, payload: "still"))
        }
        await store.shutdown()
        await admin.shutdown()
    }

    @Test func aClustersNodesAreShownNewCredentials() async throws {
        let servers = try await SharedCluster.servers()
        let user = Bytes("rotating-\(UInt64.random(in: .min ... .max))")
        for node in servers.nodes { _ = try await node.ask("ACL", "SETUSER", user, "on", ">first", "~*", "&*", "+@all") }
        let password = Locked("first")
        var configuration = servers.configuration()
        configuration.credentials = { .init(username: user.string, password: password.withLock { $0 }) }
        let store = try RedisStore(configuration)
        _ = try await store(.dbsize)
        for node in servers.nodes { _ = try await node.ask("ACL", "SETUSER", user, "resetpass", ">second") }
        let refusal = await failure { try await store.reauthenticate() }
        #expect(refusal?.code == .serverRefused)
        password.withLock { $0 = "second" }
        try await store.reauthenticate()
        #expect(try await store(.dbsize) >= 0)
        await store.shutdown()
        for node in servers.nodes { _ = try await node.ask("ACL", "DELUSER", user) }
    }

    /// Sentinels have credentials of their own: they are not shown the primary's.
    @Test func credentialsThatChangeAreNotShownToSentinels() async throws {
        let sentinels = try await SharedSentinels.servers()
        var configuration = sentinels.configuration()
        configuration.credentials = { .init(username: "nobody-there", password: "first") }
        let primary = try await configuration.primaryBySentinels()
        #expect(primary != nil)
    }

    @Test func credentialsThatCannotBeHadSayNothingOfTheSecret() async throws {
        struct Vault: Error { let secret = "hunter2" }
        var configuration = try await SharedRedis.configuration()
        configuration.credentials = { throw Vault() }
        let store = try RedisStore(configuration)
        let error = await failure { try await store(.ping) }
        #expect(error?.code == .connectionFailed)
        #expect(error?.message.contains("hunter2") == false)
        let shown = "\(RedisConfiguration.Credentials(username: "ann", password: "hunter2"))"
        #expect(!shown.contains("hunter2"))
    }

    /// A user who may do some things: what else he does is refused with the permission that would be needed.
    @Test func aMissingPermissionIsTypedAndSaysWhatToGrant() async throws {
        let server = try await server("user bob on >b ~mine:* resetchannels &open +get +ping +publish +subscribe +evalsha +eval")
        defer { server.stop() }
        let store = try RedisStore(
            RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), username: "bob", password: "b").patient)
        let mine = Key(raw: "mine:1")
        #expect(try await store(.get(mine)) == nil)
        let script = Script("test.write", version: 1, lua: "return redis.call('SET', KEYS[1], 1)") { _, _, _, _ in .ok }
        for (name, granting, call) in [
            ("SET", " +set", { try await store(.set(mine, "x")) }),
            ("CONFIG", " +config|set", { _ = try await store(.raw("CONFIG", "SET", "maxmemory", "0")) }),
            ("GET", " ~<pattern>", { _ = try await store(.get(Key(raw: "yours"))) }),
            ("PUBLISH", " &<pattern>", { _ = try await store(.publish(Channel("closed"), "x")) }),
            ("SUBSCRIBE", " &<pattern>", { try await store.withSubscription(to: [.channel(Channel("closed"))]) { _ in } }),
            ("test.write@1", " +<command>", { _ = try await store.run(Procedure(script, keys: [mine], arguments: []) { $0 }) }),
        ] as [(String, String, () async throws -> Void)] {
            let error = await failure { try await call() }
            #expect(error?.code == .permissionMissing && error?.operation == name, "\(error as Any)")
            #expect(error?.isServerFailure == false && error?.isRefusal == true)
            #expect(
                error?.message.contains("ACL SETUSER ") == true && error?.message.hasSuffix(granting) == true, "\(error as Any)")
        }
        await store.shutdown()
    }

    @Test(arguments: [
        // Redis 7.2 and later name the user.
        ("NOPERM User ann has no permissions to run the 'config|set' command", "ACL SETUSER ann +config|set"),
        ("NOPERM No permissions to access a key", "ACL SETUSER <user> ~<pattern>"),
        ("NOPERM No permissions to access a channel", "ACL SETUSER <user> &<pattern>"),
        ("NOPERM ACL failure in script: User ann has no permissions to run the 'set' command", "ACL SETUSER ann +set"),
        ("NOPERM may not", "or connect as another user"),
        ("NOPERM User ", "or connect as another user"),
    ])
    func whatToGrantIsReadFromWhatTheServerSays(line: String, advice: String) {
        let error = StoreError(ReplyError(line))
        #expect(error.code == .permissionMissing && error.message.hasPrefix(line) && error.message.hasSuffix(advice), "\(error)")
    }

    /// Redis says "a key" to callers and names it to ACL DRYRUN only. Whoever names it to callers gives away no session's id.
    @Test(arguments: [
        "NOPERM User ann has no permissions to access the '{session:0f3b'1c}:deleted' key",
        "NOPERM User ann has no permissions to access the 'session:0f3b'1c' channel",
        "NOPERM User ann has no permissions to access the 'session:0f3b'1c",
    ])
    func aKeyOrChannelThatIsNotPermittedIsNotNamed(line: String) {
        let error = StoreError(ReplyError(line))
        #expect(error.code == .permissionMissing && !error.message.contains("0f3b") && !error.message.contains("1c"), "\(error)")
        #expect(error.message.contains("access the '…") && error.message.contains("ACL SETUSER"), "\(error)")
    }

    /// Without HELLO, AUTH or SELECT nothing can be done as this user at all.
    @Test func aMissingPermissionAtTheHandshakeRefusesTheConnection() async throws {
        let server = try await server("user bob on >b ~* +get +ping")
        defer { server.stop() }
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), username: "bob", password: "b")
            .patient
        configuration.database = 1
        let store = try RedisStore(configuration)
        let error = await failure { try await store(.get(Key(raw: "k"))) }
        #expect(error?.code == .serverRefused && error?.message.hasSuffix(" +select") == true, "\(error as Any)")
        await store.shutdown()
    }

    @Test func certificatesThatDoNotFitSayWhatToChange() async throws {
        let certificates = try RedisProcess.sharedCertificates()
        var options = RedisProcess.Options()
        options.tls = true
        options.configuration = [
            "tls-cert-file \(certificates.expiredCertificate)", "tls-key-file \(certificates.expiredKey)",
        ]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let configuration = RedisConfiguration(
            endpoint: .tcp(host: "127.0.0.1", port: server.tlsPort), tls: .init(authorityFile: certificates.authority)
        ).patient
        let expired = await failure { try await RedisStore(configuration)(.ping) }
        #expect(expired?.code == .serverRefused)
        #expect(expired?.message.contains("has not expired") == true)
        var strange = try await SharedRedis.tlsConfiguration()
        strange.tls?.authorityFile = certificates.strangeAuthority
        let refused = await failure { try await RedisStore(strange)(.ping) }
        #expect(refused?.message.contains("check tls.authorityFile") == true)
    }
}
