public import Holdfast
public import HoldfastStore

/// What callers do: each operation tells the ledger what it was told.
public struct Workload: Sendable {
    public enum Action: CaseIterable, Sendable {
        case set, setMany, get, fill, delete, invalidate, clear, replace, deleteVersion, exists
        case create, createOnce, read, look, update, append, extend, extendOnce, extendAgain, rotate, rotateOnce
        case end, endAll, endOthers, logInAgain
        case check, charge, chargeUnnamed, checkUnnamed, refund, refundUnnamed, reset
        case request
        case increment
    }

    public static let keys = ["a:1", "a:2", "b:1"]
    public static let users = ["ann", "bob"]
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

    var isAway: Bool { services.failover.localSince != nil }
    var uptime: Duration { services.failover.time.uptime }

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
    func tell(_ text: @autoclosure () -> String) {
        guard let trace = note({ $0.trace }) else { return }
        trace("    \(name.name): \(text())")
    }

    private func judge(_ error: StoreError, of action: Action) {
        // A session may have been ended, a request may be under way elsewhere, and an entry may have been replaced.
        let isExpected =
            [
                .deadlineExceeded, .cancelled, .notFound, .conflict, .inProgress, .preconditionFailed, .serverRefused,
                .permissionMissing,
            ].contains(error.code) || error.isOutage
        if !isExpected { note { $0.failed("\(action)", name, error) } }
    }

    private func perform(_ action: Action, with random: RandomSource) async throws(StoreError) {
        var random = random
        let key = Self.keys.randomElement(using: &random) ?? ""
        let user = Self.users.randomElement(using: &random) ?? ""
        let sessions = Self.users.flatMap { user in note { $0.ids(of: user) } }
        let session = sessions.randomElement(using: &random)
        let operation = OperationID(high: random.next(), low: random.next())
        switch action {
        case .set: try await set(key)
        case .setMany: try await setMany()
        case .get: try await get(key)
        case .fill: try await fill(key)
        case .delete: try await invalidate([key]) { (cache) throws(StoreError) in try await cache.delete(key).by }
        case .invalidate:
            try await invalidate(["a:1", "a:2"]) { (cache) throws(StoreError) in try await cache.invalidate("a:*").by }
        case .clear: try await invalidate(Self.keys) { (cache) throws(StoreError) in try await cache.clear().by }
        case .replace: try await replace(key)
        case .deleteVersion: try await deleteVersion(key)
        case .exists: try await exists(key)
        case .create: try await create(user)
        case .createOnce: try await create(user, once: operation)
        case .read: if let session { try await read(session) }
        case .look: if let session { try await read(session, touch: false) }
        case .update: if let session { try await update(session, random) }
        case .append: if let session { try await append(session, "m\(random.next())") }
        case .extend: if let session { try await extend(session, once: nil) }
        case .extendOnce: if let session { try await extend(session, once: operation) }
        case .extendAgain: try await extendAgain(random.next())
        case .rotate: if let session { try await rotate(session, once: nil) }
        case .rotateOnce: if let session { try await rotate(session, once: operation) }
        case .end: if let session { try await end(session) }
        case .endAll: try await endAll(user)
        case .endOthers: if let session { try await endOthers(session) }
        case .logInAgain:
            try await endAll(user)
            try await create(user)
        case .check: try await check()
        case .charge: try await charge(operation)
        case .chargeUnnamed: try await chargeUnnamed()
        case .checkUnnamed: try await checkUnnamed()
        case .refund: try await refund(operation)
        case .refundUnnamed: try await refund(nil)
        case .reset: try await reset()
        case .increment: try await increment()
        case .request:
            let number = Int.random(in: 0..<3, using: &random)
            try await request(note { $0.requestName(number) }, attempt: random.next())
        }
    }

    /// Tries up to three times, while the deadline lasts and the outcome is unknown or the server away.
    func repeatedly<Output>(_ body: () async throws(StoreError) -> Output) async throws(StoreError) -> Output {
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
