import Holdfast
public import HoldfastStore

/// What callers were told, and what must therefore hold: the invariants of `docs/OUTAGES.md`.
///
/// 1. *Nothing revived.* A value that was there before a deletion, invalidation or overwriting began that was acknowledged is not read
///    afterwards: by the same process never; by another one not once it asks the server, by which a caller that joins a flight asks when
///    that began; from a near copy not after its TTL; and not after it has returned from an outage. A stale answer does not claim to be
///    younger than that. What a process answers from its own store it has written itself. A session whose end was acknowledged is not
///    read by whoever asks the server.
/// 2. *Nothing accepted lost.* A session that was created, and each field and message that was acknowledged, is there in the end; and a
///    session that exists is never "not found". Of a field that several change none has a value in the end that is older than an
///    acknowledged change, on whichever side of a partition.
/// 3. *Nothing applied twice.* A message is in its conversation at most once, whatever became of its replies.
/// 4. *Limits hold.* The server admits the limit in a window, and a process by itself at most its share, by the number of instances that
///    it must know of; over restarts with its folder, too.
/// 5. *Nobody waits for long.* A call that has a deadline ends within 250 ms of it.
///
/// It is told of the beginning of an operation before that begins, and of its end after it, so that what its steps order was so in fact.
///
/// A promise that the server has acknowledged ends with the server's data, and with nothing else; one that a process has accepted by
/// itself ends with that process, where nothing outlives it, until it is handed over (``isKept(_:)``).
public struct Ledger: Sendable {
    /// A moment in the order of all that happens.
    public typealias Step = Int

    /// What a process that crashes leaves, and what a network does.
    public struct Durability: Sendable {
        /// Whether what a process accepted by itself survives its crash.
        public var keepsLocalWork = false
        /// Whether an error that says that nothing has happened is taken at its word.
        public var judgesEffects = false

        public init() {}
    }

    public struct Process: Hashable, Sendable {
        public let number: Int
        /// How often it was started before.
        public let generation: Int

        public init(_ number: Int, generation: Int = 0) {
            self.number = number
            self.generation = generation
        }
    }

    public struct Violation: Error, CustomStringConvertible {
        public let description: String
    }

    public var durability = Durability()
    /// Among how many processes limits are divided, where nobody counts them.
    let processes: Int

    public init(processes: Int) { self.processes = processes }

    public private(set) var violations: [Violation] = []
    private var step: Step = 0
    /// The processes that crashed: what they accepted by themselves may be gone with them.
    var crashed: Set<Process> = []
    /// Those of them that held something then.
    private var forgetful: Set<Process> = []
    /// Those that had sums of charges without a name, which end with them.
    private(set) var crashedWithSums: Set<Process> = []

    public mutating func now() -> Step {
        step += 1
        return step
    }

    /// Told of what the ledger is told, in a schedule that is played for a reader.
    public var trace: (@Sendable (String) -> Void)?

    /// A call ended in an error that nobody expects; whoever asked a process that crashed does not hear of it.
    public mutating func failed(_ what: String, _ process: Process, _ error: StoreError) {
        if !crashed.contains(process) { violated("error: \(what) of \(process.name): \(error)") }
    }

    public mutating func violated(_ text: String) { violations.append(Violation(description: text)) }

    /// When each process last came back from an outage.
    var returns: [Process: Step] = [:]
    public mutating func returned(_ process: Process) { returns[process] = now() }

    /// - Parameters:
    ///   - work: whether it held something that the server had not heard of yet.
    ///   - sums: whether it held charges without a name.
    public mutating func crash(_ process: Process, withWork work: Bool, sums: Bool) {
        crashed.insert(process)
        if sums { crashedWithSums.insert(process) }
        if work, !durability.keepsLocalWork { forgetful.insert(process) }
    }

    // MARK: - Promises

    /// Something that was acknowledged: by which process, and who decided it.
    struct Promise: Sendable {
        let process: Process
        /// When the call began.
        let began: Step
        /// When it was acknowledged.
        let step: Step
        var isOnServer = false
    }

    mutating func promise(_ process: Process, began: Step, _ decider: Decider) -> Promise {
        let promise = Promise(process: process, began: began, step: now(), isOnServer: !decider.isLocal)
        if decider.isLocal { latestHere[process] = promise.step }
        return promise
    }

    /// When each process last decided something by itself, and the moments at which nothing of that waited any more.
    private var latestHere: [Process: Step] = [:]
    private var handOvers: [Process: [Step]] = [:]

    /// The process reaches the server, and nothing that it has decided by itself waits any more.
    public mutating func handedOver(_ process: Process) {
        let step = now()
        if latestHere[process] ?? 0 > handOvers[process]?.last ?? -1 { handOvers[process, default: []].append(step) }
        endRights(of: process, at: step)
    }

    /// Whether the server had heard of a promise by then.
    func isHandedOver(_ promise: Promise, by step: Step = .max) -> Bool {
        promise.isOnServer || handOvers[promise.process]?.contains { $0 > promise.step && $0 < step } == true
    }

    /// Whether a promise binds still: neither the server nor the process that gave it has forgotten.
    func isKept(_ promise: Promise) -> Bool {
        if forgetful.contains(promise.process), !isHandedOver(promise) { return false }
        guard let loss else { return true }
        // What was accepted before may have been handed over before.
        return promise.began > (promise.isOnServer ? loss.back : loss.began)
    }

    // MARK: - A server that forgets

    /// When the server last lost all that it had, and from when on it answered without.
    private(set) var loss: (number: Int, began: Step, back: Step)?

    /// The server has lost all that it had. What it acknowledges until it is back may be gone too.
    public mutating func serverForgets() {
        loss = ((loss?.number ?? 0) + 1, now(), .max)
    }

    public mutating func serverIsBack() {
        let step = now()
        loss?.back = step
    }

    /// Whether what began then can know nothing of what the server has lost.
    func isAfterLoss(_ began: Step) -> Bool { loss.map { began > $0.began } ?? true }

    // MARK: - State of the services; see the extensions

    var cache = CacheRecord()
    var sessions: [SessionID: SessionRecord] = [:]
    /// When somebody ended all sessions of a user.
    var endings: [String: [(began: Step, ended: Step?, at: Timestamp)]] = [:]
    var extensions: [Extension] = []
    /// By how much clocks may be set, so that expiries are told by one and judged by another.
    public var clockError = Duration.zero
    var limits = LimitsRecord()
    var requests = RequestsRecord()
    var increments: [Increment: [Promise]] = [:]

    /// Whether the server's clock is set while it works. It may then be in a window a second time, while it still fills the one that it has
    /// left: all windows together admit as often as there are limits.
    public var serverClockIsSet = false

    // MARK: - Low-level calls

    public enum Increment: Sendable { case done, unknown, refused }

    public mutating func incremented(_ outcome: Increment, by process: Process, began: Step) {
        increments[outcome, default: []].append(promise(process, began: began, .server))
    }

    public mutating func countedInTheEnd(_ count: Int, _ process: Process) {
        let (done, unknown) = (increments[.done] ?? [], increments[.unknown] ?? [])
        let kept = done.filter(isKept).count
        if count < kept { violated("lost: in the end \(process.name) counts \(count) of \(kept)") }
        if count > done.count + unknown.count {
            violated(
                "twice: in the end \(process.name) counts \(count) of \(done.count), and \(unknown.count) whose outcome is unknown"
            )
        }
    }

    // MARK: - Deadlines

    /// How long after its deadline a call may end.
    public var patience = Duration.milliseconds(250)
    /// How late the latest call ended.
    public private(set) var greatestLateness = Duration.zero

    public mutating func ended(_ what: String, _ process: Process, late: Duration) {
        greatestLateness = max(greatestLateness, late)
        if late > patience { violated("late: \(what) of \(process.name) ended \(late) after its deadline") }
    }
}

extension Ledger.Process {
    public var name: String { generation == 0 ? "process \(number)" : "process \(number), start \(generation + 1)" }
}
