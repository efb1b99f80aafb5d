import Holdfast
import HoldfastRedis
import HoldfastStore

/// One process's worth of services, with its own connection, near copies, local store and outbox, and a small load on them.
struct OutageInstance: Sendable {
    let name: String
    let state: AgentState
    let cache = OutageMeter()
    let sessions = OutageMeter()
    let limits = OutageMeter()
    private let redis: RedisStore
    private let ledger: OutageLedger

    /// How long a near copy may be shown after another instance has changed the value.
    static let nearTTL: Duration = .seconds(1)

    init(_ name: String, _ server: DemoRedis, _ ledger: OutageLedger) async throws {
        self.name = name
        self.ledger = ledger
        redis = try RedisStore(
            RedisConfiguration(endpoint: .unixSocket(path: server.socketPath), clientName: "holdfast-demo-\(name)"))
        let failover = Failover(server: redis, local: EmbeddedStore(), observer: { ledger.note($0, of: name) })
        state = AgentState(
            failover: failover,
            configuration: AgentState.Configuration(
                cache: CacheConfiguration(near: NearCacheConfiguration(ttl: Self.nearTTL)),
                instances: Instances.Configuration(lease: .seconds(5), renewal: .milliseconds(500))))
        await failover.start()
    }

    /// Watches the server until cancelled.
    func watch() async { try? await state.run() }

    func close() async { await redis.shutdown() }

    var isLocal: Bool { state.failover.decider.isLocal }
    var user: String { "user-\(name)" }

    // MARK: - Load

    /// Works until cancelled: some fifty rounds a second of each feature.
    func work() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await repeatedly { await useCache($0) } }
            group.addTask { await repeatedly { await useSessions($0) } }
            group.addTask { await repeatedly { await useLimits($0) } }
        }
    }

    /// A round that was begun is finished, in a task that is not cancelled: of a call that is given up nobody knows whether it was
    /// charged.
    private func repeatedly(_ round: @escaping @Sendable (Int) async -> Void) async {
        var number = 0
        repeat {
            number += 1
            await Task { [number] in await round(number) }.value
        } while (try? await Task.sleep(for: .milliseconds(20))) != nil
    }

    private func useCache(_ round: Int) async {
        let key = "price:\(name):\(round % 50)"
        _ = await cache.measure { () async throws(StoreError) in ((), try await state.cache.set(key, round).by) }
        for other in 1...3 {
            _ = await cache.measure { () async throws(StoreError) in
                _ = try await state.cache.get("price:\(name):\((round + other * 7) % 50)", as: Int.self)
                return ((), nil)
            }
        }
    }

    private func useSessions(_ round: Int) async {
        if let created = await create() { ledger.accept(created, whileAway: isLocal, of: name) }
        if round.isMultiple(of: 4), let old = ledger.someSession(of: name) { await end(old) }
        if let some = ledger.someSession(of: name) {
            _ = await sessions.measure { () async throws(StoreError) in
                let found = try await state.sessions.get(some)
                return (found.value, found.by)
            }
        }
    }

    private func useLimits(_ round: Int) async {
        let rules = round.isMultiple(of: 5) ? [OutageLedger.wide, OutageLedger.narrow] : [OutageLedger.wide]
        for rule in rules {
            let decision = await limits.measure { () async throws(StoreError) in
                // With a name, so that it is charged once also where the server is killed between the charge and its reply.
                let decision = try await state.limits.check([rule], for: OutageLedger.subject, once: .random())
                return (decision, decision.by)
            }
            if decision?.isAllowed == true { ledger.admit(rule) }
        }
    }

    // MARK: - What the demonstration asks for

    private func create() async -> SessionID? {
        await sessions.measure { () async throws(StoreError) in
            let session = try await state.sessions.create(userID: user, data: ["from": .string(name)])
            return (session.id, state.failover.decider)
        }
    }

    /// Logs out; only what was acknowledged is noted as ended.
    func end(_ id: SessionID) async {
        ledger.leave(id)
        let isEnded = await sessions.measure(whenRefused: { if $0.effect == .none { ledger.keep(id) } }) {
            () async throws(StoreError) in (try await state.sessions.delete(id), state.failover.decider)
        }
        if isEnded != nil { ledger.end(id, whileAway: isLocal) }
    }

    func change(_ id: SessionID) async {
        let changed = await sessions.measure { () async throws(StoreError) in
            (try await state.sessions.update(id, set: ["changed": true]), state.failover.decider)
        }
        if changed != nil { ledger.change(id) }
    }
}
