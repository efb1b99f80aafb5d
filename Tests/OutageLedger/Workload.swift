public import Holdfast
public import HoldfastStore

/// What callers do: each operation tells the ledger what it was told.
public struct Workload: Sendable {
    public enum Action: CaseIterable, Sendable {
        case set, setMany, get, fill, delete, invalidate, clear
        case create, read, update, append, end, endAll
        case check, charge
        case request
        case increment
    }

    public static let keys = ["a:1", "a:2", "b:1"]
    public static let users = ["ann", "bob"]
    public static let rule = RateLimit("six", .fixedWindow, limit: 6, per: .seconds(60))
    /// Never exhausted, so that all that is charged can be counted.
    public static let meter = RateLimit("meter", .fixedWindow, limit: 1_000_000, per: .seconds(34_560_000))

    /// The services of one process.
    public struct Services: Sendable {
        public let failover: Failover
        public let cache: Cache
        public let sessions: Sessions
        public let limits: RateLimiter
        public let idempotency: Idempotency

        public init(
            failover: Failover, cache: Cache, sessions: Sessions, limits: RateLimiter, idempotency: Idempotency
        ) {
            self.failover = failover
            self.cache = cache
            self.sessions = sessions
            self.limits = limits
            self.idempotency = idempotency
        }
    }

    let name: Ledger.Process
    let services: Services
    let ledger: Locked<Ledger>
    /// Where requests with an idempotency key leave their messages.
    let conversation: SessionID
    /// Randomness for ids.
    let random: @Sendable () -> UInt64
    /// What a cache's factory does between its look at the truth and its answer.
    let factoryWork: @Sendable () async -> Void
    /// How long ago a moment was, by which calls are judged to be late; by the process's own clock where nil.
    let lateness: (@Sendable (_ since: Duration) -> Duration)?

    public init(
        _ name: Ledger.Process, _ services: Services, _ ledger: Locked<Ledger>, conversation: SessionID,
        random: @escaping @Sendable () -> UInt64, factoryWork: @escaping @Sendable () async -> Void,
        lateness: (@Sendable (_ since: Duration) -> Duration)? = nil
    ) {
        self.name = name
        self.services = services
        self.ledger = ledger
        self.conversation = conversation
        self.random = random
        self.factoryWork = factoryWork
        self.lateness = lateness
    }

    private var uptime: Duration { services.failover.time.uptime }

    func note<Result>(_ body: (inout Ledger) -> Result) -> Result { ledger.withLock { body(&$0) } }

    /// Carries out one operation; what is told to the caller by an error is judged too.
    public func perform(_ action: Action, _ random: RandomSource) async {
        var random = random
        let deadline =
            Int.random(in: 0..<3, using: &random) == 0 ? nil : Duration.milliseconds(Int.random(in: 200...4000, using: &random))
        let end = deadline.map { uptime + $0 }
        do throws(StoreError) {
            try await CallContext(actor: "simulation", deadline: end).run { [random] () async throws(StoreError) in
                try await perform(action, with: random)
            }
        } catch {
            judge(error, of: action)
        }
        if let end {
            let late = lateness?(end) ?? uptime - end
            note { $0.ended("\(action)", name, late: late) }
        }
    }

    /// For a reader of the schedule.
    private func tell(_ text: @autoclosure () -> String) {
        guard let trace = note({ $0.trace }) else { return }
        trace("    \(name.name): \(text())")
    }

    private func judge(_ error: StoreError, of action: Action) {
        // A session may have been ended, and a request may be under way elsewhere.
        let isExpected =
            [.deadlineExceeded, .cancelled, .notFound, .conflict, .inProgress, .serverRefused, .permissionMissing].contains(
                error.code)
            || error.isOutage
        if !isExpected { note { $0.failed("\(action)", name, error) } }
    }

    private func perform(_ action: Action, with random: RandomSource) async throws(StoreError) {
        var random = random
        let key = Self.keys.randomElement(using: &random) ?? ""
        let user = Self.users.randomElement(using: &random) ?? ""
        let sessions = Self.users.flatMap { user in note { $0.ids(of: user) } }
        let session = sessions.randomElement(using: &random)
        switch action {
        case .set: try await set(key)
        case .setMany: try await setMany()
        case .get: try await get(key)
        case .fill: try await fill(key)
        case .delete: try await invalidate([key]) { (cache) throws(StoreError) in try await cache.delete(key).by }
        case .invalidate:
            try await invalidate(["a:1", "a:2"]) { (cache) throws(StoreError) in try await cache.invalidate("a:*").by }
        case .clear: try await invalidate(Self.keys) { (cache) throws(StoreError) in try await cache.clear().by }
        case .create: try await create(user)
        case .read: if let session { try await read(session) }
        case .update: if let session { try await update(session, "f\(random.next())") }
        case .append: if let session { try await append(session, "m\(random.next())") }
        case .end: if let session { try await end(session) }
        case .endAll: try await endAll(user)
        case .check: try await check()
        case .charge: try await charge(OperationID(high: random.next(), low: random.next()))
        case .increment: try await increment()
        case .request:
            let number = Int.random(in: 0..<3, using: &random)
            try await request(note { $0.requestName(number) }, attempt: random.next())
        }
    }

    // MARK: - Cache

    private func set(_ key: String) async throws(StoreError) {
        let (value, began) = note { ($0.newValue(key, by: name, isFinished: false), $0.beginsToInvalidate([key], name)) }
        var isAnswered = false
        defer { note { $0.finished(value, isAnswered: isAnswered) } }
        let write = try await services.cache.set(key, value)
        isAnswered = !write.by.isLocal
        note { $0.invalidated([key], name, by: write.by, began: began, at: uptime) }
    }

    private func setMany() async throws(StoreError) {
        let values = Self.keys.map { key in note { $0.newValue(key, by: name, isFinished: false) } }
        let began = note { $0.beginsToInvalidate(Self.keys, name) }
        var isAnswered = false
        defer { for value in values { note { $0.finished(value, isAnswered: isAnswered) } } }
        let entries = Dictionary(uniqueKeysWithValues: zip(Self.keys, values))
        let decided = try await services.cache.setMany(entries)
        isAnswered = !decided.by.isLocal
        note { $0.invalidated(Self.keys, name, by: decided.by, began: began, at: uptime) }
    }

    private func get(_ key: String) async throws(StoreError) {
        let look = Look(self)
        if case .hit(let value, let source) = try await services.cache.get(key, as: Int.self) { found(value, key, source, look) }
    }

    private func fill(_ key: String) async throws(StoreError) {
        let look = Look(self)
        let flight = note { $0.beginsFilling(key, name) }
        defer { note { $0.endsFilling(key, name, flight) } }
        do {
            let resolved = try await services.cache.resolve(key) {
                let value = note { $0.newValue(key, by: name, isFinished: true) }
                await factoryWork()
                return value
            }
            found(resolved.value, key, resolved.source, look, flight)
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(.cancelled)
        }
    }

    /// The beginning of a look into the cache.
    private struct Look {
        let step: Ledger.Step
        let uptime: Duration
        let wasAway: Bool

        init(_ workload: Workload) {
            step = workload.note { $0.now() }
            uptime = workload.uptime
            wasAway = workload.isAway
        }
    }

    private var isAway: Bool { services.failover.localSince != nil }

    private func found(_ value: Int, _ key: String, _ source: CacheSource, _ look: Look, _ flight: Ledger.Step? = nil) {
        note {
            $0.read(
                value, of: key, source, name, isAway: look.wasAway || isAway, began: look.step, flight: flight,
                at: look.uptime, nearTTL: services.cache.configuration.near.ttl)
        }
    }

    private func invalidate(
        _ keys: [String], _ body: (Cache) async throws(StoreError) -> Decider
    ) async throws(StoreError) {
        let began = note { $0.beginsToInvalidate(keys, name) }
        let decider = try await body(services.cache)
        note { $0.invalidated(keys, name, by: decider, began: began, at: uptime) }
    }

    // MARK: - Sessions

    private func create(_ user: String) async throws(StoreError) {
        let began = note { $0.now() }
        let session = try await services.sessions.create(userID: user, kind: .conversation)
        note { $0.created(session, by: name, began: began) }
    }

    private func read(_ id: SessionID) async throws(StoreError) {
        let began = note { $0.now() }
        let decided = try await services.sessions.get(id)
        note { $0.read(decided.value, id, by: decided.by, name, began: began) }
    }

    private func update(_ id: SessionID, _ field: String) async throws(StoreError) {
        let began = note { $0.now() }
        let session = try await services.sessions.update(id, set: [field: true])
        note { $0.changed(session, field: field, by: name, began: began) }
    }

    /// As a careful caller does: again under the same name while the outcome is unknown.
    private func append(_ id: SessionID, _ message: String) async throws(StoreError) {
        let operation = OperationID(high: random(), low: random())
        let began = note { $0.beginsToAppend(message, to: id) }
        let session = try await repeatedly { () throws(StoreError) in
            let messages = [NewSessionMessage(role: "user", content: .string(message))]
            return try await services.sessions.append(messages, to: id, once: operation)
        }
        note { $0.appended(session, message: message, by: name, began: began) }
    }

    private func end(_ id: SessionID) async throws(StoreError) {
        let began = note { $0.beginsToEnd([id]) }
        let decided = try await services.sessions.delete(id)
        // "There was none" is no promise.
        if decided.value { note { $0.ended([id], by: name, decided.by, began: began) } }
    }

    private func endAll(_ user: String) async throws(StoreError) {
        let ids = note { $0.ids(of: user) }
        let number = note { $0.beginsToEndAll(of: user) }
        let began = note { $0.beginsToEnd(ids) }
        defer {
            // What was created meanwhile may be met too.
            _ = note { ledger in ledger.beginsToEnd(ledger.ids(of: user).filter { !ids.contains($0) }) }
            note { $0.endsAll(of: user, number) }
        }
        let decider = try await services.sessions.revokeAll(userID: user).by
        note { $0.ended(ids, by: name, decider, began: began) }
    }

    // MARK: - Limits

    private func check() async throws(StoreError) {
        let began = note { $0.now() }
        let decision = try await services.limits.check([Self.rule], for: .user("shared"))
        note { $0.decided(decision, name, limit: Self.rule.limit, window: Self.rule.window, began: began) }
    }

    private func charge(_ operation: OperationID) async throws(StoreError) {
        let began = note { ledger in
            ledger.triesToCharge()
            return ledger.now()
        }
        let charge = RateLimitCharge(Self.meter, for: .user("metered"), cost: 1)
        let decision = try await repeatedly { () throws(StoreError) in
            try await services.limits.record([charge], once: operation)
        }
        note { $0.charged(by: name, decision.by, began: began) }
    }

    /// Tries up to three times, while the deadline lasts and the outcome is unknown or the server away.
    private func repeatedly<Output>(_ body: () async throws(StoreError) -> Output) async throws(StoreError) -> Output {
        for _ in 0..<2 {
            do { return try await body() } catch {
                guard error.isOutage, uptime < CallContext.current?.deadline ?? .seconds(1_000_000_000) else { throw error }
            }
        }
        return try await body()
    }

    // MARK: - Low-level calls

    static let counter = Key(raw: "holdfast:outage:counter")

    private func increment() async throws(StoreError) {
        guard let server = services.failover.server else { return }
        let began = note { $0.now() }
        do {
            _ = try await server(.incr(Self.counter))
            note { $0.incremented(.done, by: name, began: began) }
        } catch {
            note { $0.incremented(error.effect == .unknown ? .unknown : .refused, by: name, began: began) }
            throw error
        }
    }

    // MARK: - Idempotency

    private func request(_ key: String, attempt number: UInt64) async throws(StoreError) {
        let generation = services.failover.health.generation
        let (began, wasAway) = (note { $0.beginsToAppend(key, to: conversation) }, isAway)
        // Whether it was away at any moment of the request.
        defer {
            let isAway = wasAway || isAway || services.failover.health.generation != generation
            note { $0.tried(key, name, isAway: isAway, began: began) }
        }
        let beginning = try await services.idempotency.begin(
            key: key, of: "caller", content: "content", attempt: number,
            operation: OperationID(high: random(), low: random())
        ).value
        tell("request \(key): \(beginning)")
        switch beginning {
        case .answered(let answer): note { $0.answered(key, answer, name, began: began) }
        case .begun(let attempt):
            let session: Session
            do throws(StoreError) {
                session = try await services.sessions.append(
                    [NewSessionMessage(role: "user", content: .string(key))], to: conversation, once: attempt.operation)
            } catch {
                tell("request \(key): \(error)")
                if error.effect == .none {
                    try await services.idempotency.release(attempt)
                } else {
                    try await services.idempotency.suspend(attempt)
                }
                throw error
            }
            note { $0.appended(session, message: key, by: name, began: began) }
            let number = session.messages.first { $0.content.string == key }?.number ?? -1
            tell("request \(key) has had its effect: \(number)")
            // Where this fails the effect has been had all the same, and the lease ends by itself.
            if try await services.idempotency.complete(attempt, with: Bytes(number)).value {
                note { $0.answered(key, Bytes(number), name, began: began) }
            }
        }
    }
}
