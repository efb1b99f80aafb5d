import HoldfastStore
import NIOCore
import NIOPosix
import TestServers
import Testing

@testable import HoldfastRedis

/// Faults that other clients are known for, and what this one does instead.
@Suite struct ConnectionFailureTests {
    private func connect(
        _ server: RedisProcess, timeout: Duration = .seconds(5), change: (inout RedisConfiguration) -> Void = { _ in }
    ) throws -> RedisStore {
        var configuration = RedisConfiguration(endpoint: .unixSocket(path: server.socketPath))
        configuration.commandTimeout = timeout
        change(&configuration)
        return try RedisStore(configuration)
    }

    private func failure<R>(_ body: () async throws -> R) async -> StoreError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? StoreError
        }
    }

    @Test func cancellingOneCommandDoesNotDisturbItsNeighbours() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        let connection = try await store(.raw("CLIENT", "ID"))
        server.pause()
        let before = Task { try await store(.raw("ECHO", "before")) }
        let cancelled = Task { try await store(.raw("ECHO", "cancelled")) }
        let after = Task { try await store(.raw("ECHO", "after")) }
        try await eventually("all three are sent") { store.outstanding == 3 }
        cancelled.cancel()
        let error = await failure { try await cancelled.value }
        #expect(error?.code == .cancelled)
        #expect(error?.effect == .unknown)
        server.resume()
        #expect(try await before.value.bytes == "before")
        #expect(try await after.value.bytes == "after")
        #expect(try await store(.raw("CLIENT", "ID")) == connection, "the same connection")
    }

    @Test func aCallOfACancelledTaskIsNotSent() async throws {
        let (store, names) = (try await Backend.redis.store(), Backend.redis.namespace())
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await store(.set(names.key("never"), "x"))
        }
        let error = await failure { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(error?.effect == StoreError.Effect.none)
        #expect(try await store(.get(names.key("never"))) == nil)
    }

    @Test func repliesAreNeverMismatchedUnderCancellationsAndTimeouts() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .milliseconds(300)) { $0.retriesOnTimeout = false }
        var generator = RandomSource(seed: 1)
        let fates = (0..<1000).map { _ in Int.random(in: 0..<10, using: &generator) }
        let answered = try await withThrowingTaskGroup(of: Int.self) { group in
            for (number, fate) in fates.enumerated() {
                group.addTask {
                    let task = Task { () -> Int in
                        var answered = 0
                        for round in 0..<20 {
                            let (echo, word) = (Bytes("ECHO"), Bytes("\(number)-\(round)"))
                            do {
                                if fate == 1 {
                                    let replies = try await store.pipeline(.raw(echo, word), .raw(echo, word))
                                    #expect(replies.0.bytes == word && replies.1.bytes == word)
                                } else {
                                    #expect(try await store(.raw("ECHO", word)).bytes == word)
                                }
                                answered += 1
                            } catch let error as StoreError {
                                // Lost only when this machine held the test up for three timeouts while the server was paused.
                                #expect([.cancelled, .timeout, .connectionLost].contains(error.code), "\(error)")
                            }
                        }
                        return answered
                    }
                    if fate < 3 {
                        try await Task.sleep(for: .microseconds(fate * 3000 + number))
                        task.cancel()
                    }
                    return try await task.value
                }
            }
            // Twice the server holds its breath for longer than the timeout.
            for _ in 0..<2 {
                try await Task.sleep(for: .milliseconds(30))
                server.pause()
                try await Task.sleep(for: .milliseconds(400))
                server.resume()
            }
            return try await group.reduce(0, +)
        }
        #expect(answered > 1000)
        try await eventually("every late reply has been dropped") { store.outstanding == 0 }
        try await eventually("it answers again") { await answers(store, "end") }
    }

    /// Whether the server answers, which must be this very word.
    private func answers(_ store: RedisStore, _ word: Bytes) async -> Bool {
        guard let reply = try? await store(.raw("ECHO", word)) else { return false }
        #expect(reply.bytes == word)
        return true
    }

    @Test func aPausedServerGivesTimeoutsAndThenServesAgain() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .seconds(2)) { $0.retriesOnTimeout = false }
        try await store(.ping)
        server.pause()
        let error = await failure { try await store(.set(Key(raw: "a"), "1")) }
        #expect(error?.code == .timeout)
        #expect(error?.effect == .unknown)
        #expect(error?.operation == "SET")
        server.resume()
        #expect(try await store(.get(Key(raw: "a"))) == "1", "it did happen, as the error said it might")
    }

    @Test func theCallersDeadlineEndsACallBeforeTheTimeout() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .seconds(60))
        try await store(.ping)
        server.pause()
        let soon = CallContext(deadline: SystemTime().uptime + .milliseconds(100))
        let error = await failure { try await soon.run { () async throws(StoreError) in try await store(.incr(Key(raw: "n"))) } }
        #expect(error?.code == .deadlineExceeded)
        #expect(error?.effect == .unknown)
        let past = CallContext(deadline: SystemTime().uptime - .milliseconds(1))
        let late = await failure { try await past.run { () async throws(StoreError) in try await store(.incr(Key(raw: "n"))) } }
        #expect(late?.code == .deadlineExceeded)
        #expect(late?.effect == StoreError.Effect.none)
        server.resume()
    }

    @Test func aConnectionThatStaysSilentIsReplaced() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .seconds(1)) { $0.retriesOnTimeout = false }
        try await eventually("it answers") { await answers(store, "hello") }
        server.pause()
        let error = await failure { try await store(.ping) }
        #expect(error?.code == .timeout)
        try await eventually("the silent connection is given up") { store.outstanding == 0 }
        server.resume()
        try await eventually("a new one is made") { await failure { try await store(.ping) } == nil }
    }

    /// A store on a peer whose first connection ends at the first command, or stays silent, and whose others answer.
    private func storeOnPeer(
        _ first: String?, then second: String, timeout: Duration = .seconds(5)
    ) async throws -> (RedisStore, HostilePeer) {
        let peer = try await HostilePeer.start(answering: first, second)
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port))
        configuration.protocolVersion = .resp2
        configuration.commandTimeout = timeout
        return (try RedisStore(configuration), peer)
    }

    @Test func anIdempotentCommandIsSentAgainAfterItsConnectionWasLost() async throws {
        let (store, peer) = try await storeOnPeer(nil, then: "$1\r\na\r\n")
        #expect(try await store(.get(Key(raw: "k"))) == "a")
        #expect(peer.commandCount == 2)
        try await peer.stop()
    }

    @Test func aCommandThatMayHaveHappenedIsNotSentAgain() async throws {
        let (store, peer) = try await storeOnPeer(nil, then: ":1\r\n")
        let error = await failure { try await store(.incr(Key(raw: "n"))) }
        #expect(error?.code == .connectionLost)
        #expect(error?.effect == .unknown)
        #expect(peer.commandCount == 1)
        try await peer.stop()
    }

    /// The repetition was not even sent, which says nothing about the first attempt.
    @Test func whatMayHaveHappenedStaysSoWhereTheRepetitionCannotBeSent() async throws {
        for times in [1, 2] {
            let peer = try await HostilePeer.start(answering: nil, listeningTo: 1)
            var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port))
            configuration.protocolVersion = .resp2
            configuration.connectTimeout = .seconds(60)
            configuration.commandTimeout = .seconds(60)
            let store = try RedisStore(configuration)
            let operations = [Operation](repeating: .raw(["GET", "k"]), count: times)
            let error = await failure { try await store.execute(Batch(.pipeline, operations)) }
            #expect(error?.code == .connectionFailed)
            #expect(error?.effect == .unknown, "\(times) operations")
            #expect(peer.commandCount == 1)
            try await peer.stop()
        }
    }

    /// The repetition meets a server that cannot serve: its answer speaks of the repetition only.
    @Test func whatMayHaveHappenedStaysSoWhereTheRepetitionIsRefused() async throws {
        let (store, peer) = try await storeOnPeer(
            nil, then: "-LOADING Redis is loading the dataset in memory\r\n", timeout: .seconds(60))
        let error = await failure { try await store(.get(Key(raw: "k"))) }
        #expect(error?.code == .serverLoading)
        #expect(error?.effect == .unknown)
        #expect(peer.commandCount == 2)
        let later = await failure { try await store(.get(Key(raw: "k"))) }
        #expect(later?.code == .serverLoading)
        #expect(later?.effect == StoreError.Effect.none, "one attempt, and it was refused")
        try await peer.stop()
    }

    @Test func aConditionalWriteIsNotSentAgain() async throws {
        let (store, peer) = try await storeOnPeer(nil, then: "+OK\r\n")
        let set = Operation.strings(.set(Key(raw: "k"), "v", SetOptions(condition: .ifAbsent)))
        let error = await failure { try await store.execute(set) }
        #expect(error?.effect == .unknown)
        #expect(peer.commandCount == 1)
        try await peer.stop()
    }

    @Test func aBatchIsSentAgainOnlyWhenAllOfItIsIdempotent() async throws {
        let (reads, first) = try await storeOnPeer(nil, then: "$1\r\na\r\n$1\r\nb\r\n")
        let (a, b) = try await reads.pipeline(.get(Key(raw: "a")), .get(Key(raw: "b")))
        #expect(a == "a" && b == "b")
        let (mixed, second) = try await storeOnPeer(nil, then: "$1\r\na\r\n:1\r\n")
        let error = await failure { try await mixed.pipeline(.get(Key(raw: "a")), .incr(Key(raw: "n"))) }
        #expect(error?.effect == .unknown)
        #expect(second.commandCount == 1)
        try await first.stop()
        try await second.stop()
    }

    @Test func anIdempotentCommandIsSentAgainAfterATimeoutUnlessThatIsSwitchedOff() async throws {
        // The first connection never answers; the repetition goes the same way and times out too.
        let (store, peer) = try await storeOnPeer("", then: "$1\r\na\r\n", timeout: .seconds(2))
        let error = await failure { try await store(.get(Key(raw: "k"))) }
        // The silent connection may be given up before a caller on a crowded machine comes to ask again.
        #expect(error?.code == .timeout || error?.code == .connectionLost)
        try await eventually("both have arrived") { peer.commandCount == 2 }
        var configuration = store.configuration
        configuration.retriesOnTimeout = false
        let (_, silent) = try await storeOnPeer("", then: "")
        configuration.endpoint = .tcp(host: "127.0.0.1", port: silent.port)
        let strict = try RedisStore(configuration)
        #expect(await failure { try await strict(.get(Key(raw: "k"))) }?.code == .timeout)
        #expect(silent.commandCount == 1)
        try await peer.stop()
        try await silent.stop()
    }

    @Test func aKilledServerFailsWhatWasSentAndServesAgainAfterItsRestart() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server)
        try await store(.ping)
        server.pause()
        let sent = Task { try await store(.incr(Key(raw: "n"))) }
        try await eventually("it is sent") { store.outstanding == 1 }
        server.kill()
        let lost = await failure { try await sent.value }
        #expect(lost?.code == .connectionLost)
        #expect(lost?.effect == .unknown)
        let refused = await failure { try await store(.incr(Key(raw: "n"))) }
        #expect(refused?.code == .connectionFailed)
        #expect(refused?.effect == StoreError.Effect.none)
        try await server.restart()
        try await eventually("it serves again") { await failure { try await store(.ping) } == nil }
        #expect(try await store(.incr(Key(raw: "n"))) == 1)
    }

    @Test func anAbsentServerFailsFastAndIsFoundWhenItAppears() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        server.kill()
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: server.port))
        configuration.commandTimeout = .seconds(60)
        let store = try RedisStore(configuration)
        let clock = ContinuousClock()
        let took = await clock.measure {
            for _ in 0..<100 {
                let error = await failure { try await store(.ping) }
                #expect(error?.code == .connectionFailed)
                #expect(error?.effect == StoreError.Effect.none)
            }
        }
        #expect(took < .seconds(60), "a hundred calls, and less than the timeout of one")
        try await server.restart()
        try await eventually("it is found") { await failure { try await store(.ping) } == nil }
    }

    @Test func connectingToAPeerThatSaysNothingEndsInTime() async throws {
        // It accepts and stays silent, as a frozen server or a firewall in between does.
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(listener.localAddress?.port)
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: port))
        configuration.connectTimeout = .milliseconds(150)
        configuration.commandTimeout = .seconds(60)
        let store = try RedisStore(configuration)
        let clock = ContinuousClock()
        var error: StoreError?
        let took = await clock.measure { error = await failure { try await store(.ping) } }
        #expect(error?.code == .connectionFailed)
        #expect(error?.effect == StoreError.Effect.none)
        #expect(took < .seconds(60))
        try await listener.close()
    }

    /// Something else listens there: nothing but first words was sent to it.
    @Test func aPeerThatSpeaksAnotherLanguageWasSentNothing() async throws {
        let peer = try await ScriptedPeer.start(greeting: "HTTP/1.1 400 Bad Request\r\n\r\n") { _ in nil }
        let store = try RedisStore(RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port)).patient)
        let error = await failure { try await store(.incr(Key(raw: "n"))) }
        #expect(error?.code == .protocolViolation && error?.effect == StoreError.Effect.none, "\(error as Any)")
        await store.shutdown()
        try await peer.stop()
    }

    @Test func aWrongPasswordIsARefusalAndNoOutage() async throws {
        var options = RedisProcess.Options()
        options.password = "right"
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        for version in [RedisConfiguration.ProtocolVersion.resp3, .resp2] {
            for password in ["wrong", nil, ""] {
                let store = try connect(server) {
                    $0.password = password
                    $0.protocolVersion = version
                }
                let error = await failure { try await store(.ping) }
                #expect(error?.code == .serverRefused, "\(version), \(password ?? "none")")
                #expect(error?.isServerFailure == false)
                #expect(error?.message.contains("wrong") == false || error?.message.contains("WRONGPASS") == true)
            }
        }
    }

    @Test func aDatabaseThatIsNoneIsARefusal() async throws {
        var configuration = try await SharedRedis.configuration()
        configuration.database = 9999
        let store = try RedisStore(configuration)
        let error = await failure { try await store(.ping) }
        #expect(error?.code == .serverRefused)
    }

    @Test func aCertificateOfAStrangeAuthorityIsRefused() async throws {
        let server = try await SharedRedis.server()
        var configuration = try await SharedRedis.tlsConfiguration()
        configuration.tls?.authorityFile = server.certificates?.strangeAuthority
        let error = await failure { try await RedisStore(configuration)(.ping) }
        #expect(error?.code == .serverRefused)
        configuration.tls?.verification = .optional
        #expect(await failure { try await RedisStore(configuration)(.ping) }?.code == .serverRefused)
        configuration.tls?.verification = .none
        #expect(await failure { try await RedisStore(configuration)(.ping) } == nil)
    }

    @Test func aCertificateOfAnotherHostIsRefused() async throws {
        var options = RedisProcess.Options()
        options.tls = true
        let certificates = try RedisProcess.sharedCertificates()
        options.configuration = [
            "tls-cert-file \(certificates.namedCertificate)", "tls-key-file \(certificates.namedKey)",
        ]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        var configuration = RedisConfiguration(
            endpoint: .tcp(host: "localhost", port: server.tlsPort), tls: .init(authorityFile: certificates.authority))
        #expect(await failure { try await RedisStore(configuration)(.ping) }?.code == .serverRefused)
        configuration.endpoint = .tcp(host: "127.0.0.1", port: server.tlsPort)
        #expect(await failure { try await RedisStore(configuration)(.ping) }?.code == .serverRefused)
        configuration.tls?.serverName = "redis.example"
        #expect(await failure { try await RedisStore(configuration)(.ping) } == nil)
    }

    @Test(arguments: ["TLSv1.3", "TLSv1.2"])
    func aServerThatWantsAClientCertificateGetsOneOrSaysSo(version: String) async throws {
        var options = RedisProcess.Options()
        options.tls = true
        options.configuration = ["tls-auth-clients yes", "tls-protocols \(version)"]
        let server = try await RedisProcess.start(options)
        defer { server.stop() }
        let certificates = try #require(server.certificates)
        func failure(_ certificate: String?, _ key: String?) async -> StoreError? {
            let tls = RedisConfiguration.TLS(authorityFile: certificates.authority, certificateFile: certificate, keyFile: key)
            let configuration = RedisConfiguration(endpoint: .tcp(host: "localhost", port: server.tlsPort), tls: tls)
            return await self.failure { try await RedisStore(configuration.patient)(.ping) }
        }
        #expect(await failure(certificates.clientCertificate, certificates.clientKey) == nil)
        let none = await failure(nil, nil)
        let foreign = await failure(certificates.strangeAuthority, certificates.folder + "/strange.key")
        let expired = await failure(certificates.expiredCertificate, certificates.expiredKey)
        for (name, error, advice) in [
            ("none", none, "wants a client certificate; set tls.certificateFile and tls.keyFile"),
            ("foreign", foreign, "does not accept the client's certificate; check that tls.certificateFile"),
            ("expired", expired, "does not accept the client's certificate; check that tls.certificateFile"),
        ] {
            // With TLS 1.3 the connection may be reset before the reason has arrived.
            #expect(error?.code == .serverRefused || error?.code == .connectionFailed, "\(name): \(error as Any)")
            #expect(error?.message.contains(advice) == true, "\(name): \(error as Any)")
        }
        let mixed = await failure(certificates.clientCertificate, certificates.serverKey)
        #expect(mixed?.code == .invalidArgument && mixed?.field == "tls.keyFile", "\(mixed as Any)")
    }

    @Test func hostileLengthsEndTheConnectionWithATypedError() async throws {
        let peer = try await HostilePeer.start(answering: "$9223372036854775807\r\n")
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port))
        configuration.protocolVersion = .resp2
        configuration.retriesOnTimeout = false
        let store = try RedisStore(configuration)
        let error = await failure { try await store(.get(Key(raw: "a"))) }
        #expect(error?.code == .protocolViolation)
        try await peer.stop()
    }

    @Test func aReplyToNothingEndsTheConnection() async throws {
        let peer = try await HostilePeer.start(answering: "$1\r\na\r\n$1\r\nb\r\n")
        var configuration = RedisConfiguration(endpoint: .tcp(host: "127.0.0.1", port: peer.port))
        configuration.protocolVersion = .resp2
        let store = try RedisStore(configuration)
        #expect(try await store(.get(Key(raw: "a"))) == "a")
        try await eventually("the connection is gone") { peer.openConnections == 0 }
        try await peer.stop()
    }

    @Test func tooMuchInFlightIsRefusedAtOnce() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server) { $0.maximumInFlight = 10 }
        try await store(.ping)
        server.pause()
        let waiting = (0..<10).map { _ in Task { try await store(.ping) } }
        try await eventually("ten wait") { store.outstanding == 10 }
        let error = await failure { try await store(.ping) }
        #expect(error?.code == .overloaded)
        #expect(error?.effect == StoreError.Effect.none)
        server.resume()
        for task in waiting { try await task.value }
    }

    @Test func shutdownFailsWhatWaitsAndWhatComes() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .seconds(60))
        try await store(.ping)
        server.pause()
        let waiting = Task { try await store(.incr(Key(raw: "n"))) }
        try await eventually("it is sent") { store.outstanding == 1 }
        await store.shutdown(finishingWithin: .milliseconds(50))
        let error = await failure { try await waiting.value }
        #expect(error?.code == .shuttingDown)
        #expect(error?.effect == .unknown)
        let later = await failure { try await store(.ping) }
        #expect(later?.code == .shuttingDown)
        #expect(later?.effect == StoreError.Effect.none)
    }

    @Test func shutdownLetsWhatIsInFlightFinish() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .seconds(60))
        try await store(.ping)
        server.pause()
        let waiting = (0..<10).map { _ in Task { try await store(.incr(Key(raw: "n"))) } }
        try await eventually("they are sent") { store.outstanding == 10 }
        let ending = Task { await store.shutdown(finishingWithin: .seconds(60)) }
        try await eventually("it has begun") { store.isEnding }
        #expect(await failure { try await store(.ping) }?.code == .shuttingDown)
        server.resume()
        await ending.value
        var counts: [Int] = []
        for task in waiting { counts.append(Int(try await task.value)) }
        #expect(counts.sorted() == Array(1...10))
    }

    /// The second allows less, and begins while the first still waits.
    @Test func aSecondShutdownDoesNotCutTheFirstShort() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .seconds(60))
        try await store(.ping)
        guard case .server(let link) = store.topology else { return }
        server.pause()
        let waiting = (0..<10).map { _ in Task { try await store(.incr(Key(raw: "n"))) } }
        try await eventually("they are sent") { store.outstanding == 10 }
        let graces: [Duration] = [.seconds(60), .milliseconds(1)]
        var endings: [Task<Void, Never>] = []
        for (number, grace) in graces.enumerated() {
            endings.append(Task { await store.shutdown(finishingWithin: grace) })
            try await eventually("it waits") { link.connections[0].state.withLock { $0.finishing.count } == number + 1 }
        }
        // Of the loop, on which the second one's time is over long before this.
        try await link.connections[0].eventLoop.scheduleTask(in: .milliseconds(50)) {}.futureResult.get()
        server.resume()
        for ending in endings { await ending.value }
        var counts: [Int] = []
        for task in waiting { counts.append(Int(try await task.value)) }
        #expect(counts.sorted() == Array(1...10))
    }

    @Test func aConnectionThatNobodyUsesNoticesThatItsServerFellSilent() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try connect(server, timeout: .milliseconds(100)) { configuration in
            configuration.keepAlive = .milliseconds(20)
            configuration.retriesOnTimeout = false
        }
        try await eventually("it is connected") { await failure { try await store(.ping) } == nil }
        server.pause()
        try await eventually("the connection is given up") { !store.isConnected }
        server.resume()
        try await eventually("another serves") { await failure { try await store(.ping) } == nil }
    }

    @Test func tasksOnTheConnectionsLoopAreServedAndOthersBeside() async throws {
        let store = try #require(try await Backend.redis.store() as? RedisStore)
        let key = Backend.redis.namespace().key("counter")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 {
                group.addTask {
                    func count() async throws { for _ in 0..<50 { _ = try await store(.incr(key)) } }
                    if number % 2 == 0 {
                        try await withTaskExecutorPreference(store.taskExecutor) { try await count() }
                    } else {
                        try await count()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store(.get(key)) == "1000")
    }
}
