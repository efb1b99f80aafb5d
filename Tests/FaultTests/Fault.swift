import HoldfastRedis
import HoldfastStore
import OutageLedger
import TestServers
import Testing

/// One way in which a server or the way to it fails, and how that ends.
struct Fault: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Lines of redis.conf that it needs.
    var configuration: [String] = []
    var needsSentinels = false
    var setsServerClock = false
    /// By how much it sets a clock.
    var clockStep = Duration.zero
    /// Whether it lets what it has held up have its effect when the caller has given up: then a field's earlier change may have the later stamp.
    var delaysEffects = false
    /// What shows that it has struck.
    let strikes: Strike
    let begin: @Sendable (FaultStage) async throws -> Void
    let end: @Sendable (FaultStage) async throws -> Void
    /// What follows when calls have gone to the server again for a while.
    var aftermath: @Sendable (FaultStage) async throws -> Void = { _ in }

    /// What a fault does at the least.
    enum Strike: Sendable {
        /// These processes reach nothing until it ends, and decide by themselves.
        case cutsOff([Int])
        /// Some of what these processes ask fails or is refused, with one of these codes, and the rest is answered.
        case fails([Int], as: Set<ErrorCode>)
        /// It fails nothing by itself; it throws where it is not there.
        case shows(@Sendable (FaultStage) async throws -> Void)
    }

    var cutsOff: Bool { if case .cutsOff = strikes { true } else { false } }

    static let all = network + processes + states + clocks

    // MARK: - The network, for one process

    private static let network: [Fault] = [
        on("connections are refused", .refuse, .cutsOff([0])),
        on("nothing arrives", .hang, .cutsOff([0]), delaysEffects: true),
        on("all is late", .delay(.milliseconds(150)), .shows { try await $0.echoTakes(.milliseconds(300), 1) }),
        on("replies break off", .cutReplies(after: 200), .fails([0], as: [.connectionFailed, .connectionLost])),
        on("replies are lost", .dropReplies, .cutsOff([0])),
        on(
            "the network is slow", .throttle(bytesPerSecond: 4000), .shows { try await $0.echoTakes(.milliseconds(500), 2000) },
            delaysEffects: true),
        Fault(
            testDescription: "requests arrive late", strikes: .cutsOff([0]),
            begin: { $0.proxy.fault = .holdRequests },
            end: { stage in
                try await stage.outageIsDeclared()
                stage.proxy.fault = .none
            },
            aftermath: { stage in
                let count = await stage.proxy.deliverHeldRequests()
                try #require(count > 0, "nothing was held back")
            }),
    ]

    private static func on(
        _ name: String, _ fault: FaultProxy.Fault, _ strikes: Strike, delaysEffects: Bool = false
    ) -> Fault {
        Fault(
            testDescription: name, delaysEffects: delaysEffects, strikes: strikes, begin: { $0.proxy.fault = fault },
            end: { $0.proxy.fault = .none })
    }

    // MARK: - The server's process

    /// What is acknowledged is on the disk.
    private static let durable = ["appendonly yes", "appendfsync always"]

    private static let processes: [Fault] = [
        Fault(
            testDescription: "the server is killed and keeps its data", configuration: durable, strikes: .cutsOff([0, 1]),
            begin: { $0.server.kill() }, end: { try await $0.server.restart() }),
        Fault(
            testDescription: "the server is killed and forgets", strikes: .cutsOff([0, 1]),
            begin: { stage in
                stage.ledger.withLock { $0.serverForgets() }
                stage.server.kill()
            },
            end: { stage in
                try await stage.server.restart()
                stage.ledger.withLock { $0.serverIsBack() }
            }),
        Fault(
            testDescription: "the server stands still", delaysEffects: true, strikes: .cutsOff([0, 1]),
            begin: { $0.server.pause() }, end: { $0.server.resume() }),
        Fault(
            testDescription: "the server loads its data",
            // Some 150 µs for each command, and a look at its clients after each 1,024 of them.
            configuration: durable + ["key-load-delay 100"], strikes: .shows(repaired),
            begin: { stage in
                _ = try await stage.control(.raw("EVAL", "for i = 1, 30000 do redis.call('SET', 'padding', i) end", "0"))
                stage.server.kill()
                stage.repair.withLock { repair in
                    repair = Task {
                        // Both are met, however slow this machine is.
                        try await stage.hasStruck([0, 1], as: [.connectionFailed, .connectionLost])
                        let restart = Task { try await stage.server.restart() }
                        try await stage.hasStruck([0, 1], as: [.serverLoading])
                        try await restart.value
                    }
                }
            },
            end: repaired),
        Fault(
            testDescription: "the server dies and its replica takes over", needsSentinels: true,
            strikes: .shows { stage in
                // It ends its clients' connections when it becomes one.
                try await eventually("the replica has taken over") {
                    (try? await stage.sentinels?.servers[1].ask("ROLE"))?.elements?.first?.bytes == "master"
                }
            },
            begin: { stage in
                guard let sentinels = stage.sentinels else { return }
                // What a replica had not heard yet would be gone, which is the server's durability and not ours.
                try await eventually("the replica has heard everything") { try await sentinels.replicasAreInStep() }
                stage.server.kill()
                stage.repair.withLock { repair in repair = Task { try await sentinels.failOver() } }
            },
            end: repaired),
    ]

    private static let repaired: @Sendable (FaultStage) async throws -> Void = { stage in
        try await stage.repair.withLock { $0 }?.value
    }

    // MARK: - The server's state

    private static let states: [Fault] = [
        Fault(
            testDescription: "the server is a replica", strikes: .fails([0, 1], as: [.serverReadOnly]),
            begin: { try await $0.ask("REPLICAOF", "127.0.0.1", "1") },
            end: { try await $0.ask("REPLICAOF", "NO", "ONE") }),
        set("the server misses its replicas", "min-replicas-to-write", "1", "0", .serverReadOnly),
        set("the server is full", "maxmemory", "1", "0", .outOfMemory),
        Fault(
            testDescription: "the server has too many clients", strikes: .fails([0, 1], as: [.serverBusy]),
            begin: { stage in
                try await stage.ask("CONFIG", "SET", "maxclients", "1")
                try await stage.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            },
            end: { try await $0.ask("CONFIG", "SET", "maxclients", "1000") }),
        Fault(
            testDescription: "the server's password changes", strikes: .fails([0, 1], as: [.serverRefused]),
            begin: { stage in
                try await stage.ask("CONFIG", "SET", "requirepass", "other")
                try await stage.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            },
            end: { try await $0.ask("CONFIG", "SET", "requirepass", "") }),
    ]

    // MARK: - Clocks

    private static let clocks: [Fault] = [
        Fault(
            testDescription: "this machine's clock is set forward", clockStep: .seconds(3),
            strikes: .shows { try $0.clockIsSet(by: .seconds(3)) },
            begin: { $0.clock.step(by: .seconds(3)) },
            end: { $0.clock.step(by: .seconds(-3)) }),
        Fault(
            testDescription: "this machine's clock is set back", clockStep: .seconds(3),
            strikes: .shows { try $0.clockIsSet(by: .seconds(-3)) },
            begin: { $0.clock.step(by: .seconds(-3)) },
            end: { $0.clock.step(by: .seconds(3)) }),
        Fault(
            testDescription: "the server's clock is set forward", setsServerClock: true, clockStep: .seconds(30),
            strikes: .shows { try await $0.serverClockIsSet() },
            begin: { try await $0.stepServerClock(by: .seconds(30)) }, end: { try await $0.stepServerClock(by: .seconds(-30)) }),
        Fault(
            testDescription: "the server's clock is set back", setsServerClock: true, clockStep: .seconds(30),
            strikes: .shows { try await $0.serverClockIsSet() },
            begin: { try await $0.stepServerClock(by: .seconds(-30)) }, end: { try await $0.stepServerClock(by: .seconds(30)) }),
    ]

    private static func set(_ name: String, _ setting: Bytes, _ bad: Bytes, _ good: Bytes, _ code: ErrorCode) -> Fault {
        Fault(
            testDescription: name, strikes: .fails([0, 1], as: [code]),
            begin: { try await $0.ask("CONFIG", "SET", setting, bad) },
            end: { try await $0.ask("CONFIG", "SET", setting, good) })
    }
}

extension FaultStage {
    /// Sets the server's clock, and makes sure that it is set.
    fileprivate func stepServerClock(by span: Duration) async throws {
        let clock = try #require(serverClock)
        clock.step(by: span)
        try await serverClockIsSet()
    }

    fileprivate func serverClockIsSet() async throws {
        let clock = try #require(serverClock)
        try await eventually("the server's clock is \(clock.offset) from ours") {
            let seconds = try await control.execute(.raw(["TIME"])).elements?.first?.integer ?? 0
            let offset = Timestamp(milliseconds: seconds * 1000) - SystemTime().now
            return (clock.offset - .seconds(10)...clock.offset + .seconds(10)).contains(offset)
        }
    }

    fileprivate func clockIsSet(by span: Duration) throws {
        let offset = time(of: 0).now - SystemTime().now
        try #require((span - .seconds(1)...span + .seconds(1)).contains(offset), "this process's clock is \(offset) from ours")
    }

    /// That the proxy holds up what goes through it: so long a text takes at least this long there and back, or is given up.
    fileprivate func echoTakes(_ span: Duration, _ bytes: Int) async throws {
        let start = ContinuousClock.now
        let text = Bytes(Array(repeating: UInt8(ascii: "x"), count: bytes))
        let answer = try? await store(of: 0).execute(.raw(["ECHO", text]))
        let taken = ContinuousClock.now - start
        // Timers may be early by the coarseness of their clock.
        try #require(answer == nil || taken > span - .milliseconds(50), "nothing was held up: \(taken)")
    }

    fileprivate func ask(_ command: Bytes...) async throws {
        if case .error(let error) = try await control.execute(.raw(command)) { throw StoreError(error) }
    }
}
