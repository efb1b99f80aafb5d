public import Holdfast
public import HoldfastStore

/// What callers were told, and what must therefore hold: the invariants of `docs/OUTAGES.md`.
///
/// 1. *Nothing revived.* A value that was there before a deletion, invalidation or overwriting began that was acknowledged is not read
///    afterwards: by the same process never; by another one not once it asks the server, by which a caller that joins a flight asks when
///    that began; from a near copy not after its TTL; and not after it has returned from an outage. A stale answer does not claim to be
///    younger than that. What a process answers from its own store it has written itself. A session whose end was acknowledged is not
///    read by whoever asks the server.
/// 2. *Nothing accepted lost.* A session that was created, and each field and message that was acknowledged, is there in the end; and a
///    session that exists is never "not found".
/// 3. *Nothing applied twice.* A message is in its conversation at most once, whatever became of its replies.
/// 4. *Limits hold.* The server admits the limit in a window, and a process by itself at most its share.
/// 5. *Nobody waits for long.* A call that has a deadline ends within 250 ms of it.
///
/// It is told of the beginning of an operation before that begins, and of its end after it, so that what its steps order was so in fact.
public struct Ledger: Sendable {
    /// A moment in the order of all that happens.
    public typealias Step = Int

    /// What a process that crashes leaves, and a server that forgets.
    public struct Durability: Sendable {
        /// Whether what a process accepted by itself survives its crash.
        public var keepsLocalWork = false
        /// Whether what the server acknowledged survives its restart.
        public var keepsServerWork = true
        /// Whether a request may arrive after all has been handed over. A plain write of the cache is then a write of that moment: see the
        /// known limits in `docs/OUTAGES.md`.
        public var deliversLate = false

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
    /// Among how many processes limits are divided.
    let processes: Int

    public init(processes: Int) { self.processes = processes }

    public private(set) var violations: [Violation] = []
    private var step: Step = 0
    /// The processes that crashed: what they accepted by themselves may be gone with them.
    private var crashed: Set<Process> = []
    /// Those of them that held something then.
    private var forgetful: Set<Process> = []

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
    private var returns: [Process: Step] = [:]
    public mutating func returned(_ process: Process) { returns[process] = now() }

    /// - Parameter work: whether it held something that the server had not heard of yet.
    public mutating func crash(_ process: Process, withWork work: Bool) {
        crashed.insert(process)
        if !durability.keepsLocalWork { charged -= chargedHere.removeValue(forKey: process) ?? 0 }
        if work, !durability.keepsLocalWork { forgetful.insert(process) }
    }

    // MARK: - Cache

    private struct Value: Sendable {
        let key: String
        let writer: Process
        /// From when on whoever invalidates the key means this value too; nil while it is being written.
        var end: Step?
    }

    private struct Invalidation: Sendable {
        let process: Process
        let isOnServer: Bool
        let began: Step
        let ended: Step
        let endedAt: Duration
    }

    private var values: [Int: Value] = [:]
    private var invalidations: [String: [Invalidation]] = [:]

    public mutating func newValue(_ key: String, by process: Process, isFinished: Bool) -> Int {
        let value = values.count + 1
        values[value] = Value(key: key, writer: process, end: isFinished ? now() : nil)
        return value
    }

    /// - Parameter isAnswered: whether the server has answered that it has it.
    public mutating func finished(_ value: Int, isAnswered: Bool) {
        if durability.deliversLate, !isAnswered { return }
        let step = now()
        values[value]?.end = step
    }

    // MARK: Flights

    /// Who may have met in one flight, or in several that followed each other without a pause.
    private struct Flights: Sendable {
        let began: Step
        var callers = 0
    }

    private struct Place: Hashable {
        let process: Process
        let key: String
    }

    private var flights: [Step: Flights] = [:]
    private var joinable: [Place: Step] = [:]

    /// - Returns: when the flight began that this caller joins, at the earliest; what ``endsFilling(_:_:_:)`` is told.
    public mutating func beginsFilling(_ key: String, _ process: Process) -> Step {
        let (step, place) = (now(), Place(process: process, key: key))
        let began = joinable[place] ?? step
        joinable[place] = began
        flights[began, default: Flights(began: began)].callers += 1
        return began
    }

    public mutating func endsFilling(_ key: String, _ process: Process, _ began: Step) {
        flights[began]?.callers -= 1
        guard flights[began]?.callers == 0 else { return }
        flights[began] = nil
        let place = Place(process: process, key: key)
        if joinable[place] == began { joinable[place] = nil }
    }

    /// Nobody joins a flight of the process's own that its change has ended.
    public mutating func beginsToInvalidate(_ keys: [String], _ process: Process) -> Step {
        for key in keys { joinable[Place(process: process, key: key)] = nil }
        return now()
    }

    // MARK: Reads

    public mutating func invalidated(_ keys: [String], _ process: Process, by decider: Decider, began: Step, at uptime: Duration)
    {
        if crashed.contains(process) { return }
        let invalidation = Invalidation(
            process: process, isOnServer: !decider.isLocal, began: began, ended: now(), endedAt: uptime)
        for key in keys {
            invalidations[key, default: []].append(invalidation)
            joinable[Place(process: process, key: key)] = nil
        }
    }

    /// - Parameters:
    ///   - isAway: whether the process was cut off at the beginning or the end of the read.
    ///   - flight: when the flight began that answered; nil for a read that joined none.
    ///   - uptime: when the read began.
    public mutating func read(
        _ value: Int, of key: String, _ source: CacheSource, _ process: Process, isAway: Bool, began: Step, flight: Step? = nil,
        at uptime: Duration, nearTTL: Duration
    ) {
        if crashed.contains(process) { return }
        guard let written = values[value], written.key == key else { return violated("\(key): \(value) was never written") }
        if case .local = source, written.writer != process {
            violated("foreign: \(process.name) read \(key)=\(value) from its own store, which \(written.writer.name) had written")
        }
        guard let end = written.end else { return }
        // Before then the process asked the server, or dropped what it had.
        let returned = returns[process].flatMap { $0 < began ? $0 : nil } ?? 0
        for old in invalidations[key] ?? [] where old.began > end && old.ended < began {
            let isOurs = written.writer == process
            let isKnown =
                switch source {
                case _ where old.process == process: true
                case _ where !old.isOnServer: false
                case .store, .factory: old.ended < flight ?? began
                case _ where old.ended < returned: true
                // What it has written itself, cut off, is the latest that it can know of.
                case .near: old.endedAt + nearTTL < uptime && !(isAway && isOurs)
                case .stale(let age, _): old.endedAt + nearTTL < uptime - age && !isOurs
                case .local: false
                }
            if isKnown {
                violated(
                    "revived: \(process.name) read \(key)=\(value) from \(source), written by \(end), at \(began), though \(old.process.name) "
                        + "had invalidated it in \(old.began)...\(old.ended) on \(old.isOnServer ? "the server" : "its own")")
            }
        }
    }

    /// When all is quiet again.
    public mutating func readAtEnd(_ value: Int, of key: String, _ process: Process) {
        guard let written = values[value] else { return violated("\(key): \(value) was never written") }
        guard let end = written.end else { return }
        for old in invalidations[key] ?? [] where old.began > end {
            if !old.isOnServer, crashed.contains(old.process), !durability.keepsLocalWork { continue }
            violated(
                "revived: in the end \(process.name) reads \(key)=\(value), written by \(end), though \(old.process.name) had invalidated "
                    + "it in \(old.began)...\(old.ended) on \(old.isOnServer ? "the server" : "its own")")
        }
    }

    // MARK: - Sessions

    /// Something about a session that was acknowledged: when, and by which process.
    private struct Promise: Sendable {
        let process: Process
        let step: Step
        var isOnServer = false
    }

    private struct SessionRecord: Sendable {
        let user: String
        let created: Promise
        /// When somebody first tried to end it.
        var endBegan: Step?
        var ended: [Promise] = []
        var fields: [String: Promise] = [:]
        var messages: [String: Promise] = [:]
    }

    private var sessions: [SessionID: SessionRecord] = [:]

    /// When somebody ended all sessions of a user.
    private var endings: [String: [(began: Step, ended: Step?)]] = [:]

    public var ids: [SessionID] { sessions.keys.sorted { $0.text < $1.text } }

    public func ids(of user: String) -> [SessionID] { ids.filter { sessions[$0]?.user == user } }

    /// - Parameter began: when its creation began: whoever ends all of the user's sessions since may have met it.
    public mutating func created(_ id: SessionID, user: String, by process: Process, began: Step) {
        // Nobody hears any more what a process that crashed would have said.
        if crashed.contains(process) { return }
        trace?("    \(process.name) has created session \(id.text) of \(user)")
        let isMet = (endings[user] ?? []).contains { $0.ended ?? .max > began }
        sessions[id] = SessionRecord(
            user: user, created: Promise(process: process, step: now()), endBegan: isMet ? now() : nil)
    }

    /// - Returns: what ``endsAll(of:_:)`` is told when it is over.
    public mutating func beginsToEndAll(of user: String) -> Int {
        endings[user, default: []].append((now(), nil))
        return endings[user, default: []].count - 1
    }

    public mutating func endsAll(of user: String, _ number: Int) {
        let step = now()
        endings[user]?[number].ended = step
    }

    public mutating func beginsToEnd(_ ids: [SessionID]) {
        let step = now()
        for id in ids where sessions[id]?.endBegan == nil { sessions[id]?.endBegan = step }
    }

    public mutating func ended(_ ids: [SessionID], by process: Process, onServer isOnServer: Bool) {
        if crashed.contains(process) { return }
        let step = now()
        trace?("    \(process.name) has ended \(ids.map(\.text)) on \(isOnServer ? "the server" : "its own")")
        for id in ids { sessions[id]?.ended.append(Promise(process: process, step: step, isOnServer: isOnServer)) }
    }

    public mutating func changed(_ id: SessionID, field: String, by process: Process) {
        if crashed.contains(process) { return }
        let step = now()
        sessions[id]?.fields[field] = Promise(process: process, step: step)
    }

    public mutating func appended(_ id: SessionID, message: String, by process: Process) {
        if crashed.contains(process) { return }
        let step = now()
        sessions[id]?.messages[message] = Promise(process: process, step: step)
    }

    public mutating func read(_ session: Session?, _ id: SessionID, by decider: Decider, _ process: Process, began: Step) {
        if crashed.contains(process) { return }
        guard let record = sessions[id] else { return }
        guard let session else {
            if record.endBegan == nil, isKept(record.created) {
                violated("lost: \(process.name) was told by \(decider) that session \(id.text) is not there")
            }
            return
        }
        for end in record.ended where end.step < began && (end.process == process || end.isOnServer && !decider.isLocal) {
            violated("revived: \(process.name) read session \(id.text) by \(decider) at \(began), which ended at \(end.step)")
        }
        guard !decider.isLocal else { return }
        // What another process accepted by itself may still be on its way.
        check(session, record, process) { $0.process == process && $0.step < began }
    }

    /// When all is quiet again.
    public mutating func readAtEnd(_ session: Session?, _ id: SessionID, _ process: Process) {
        guard let record = sessions[id] else { return }
        guard let session else {
            if record.endBegan == nil, isKept(record.created) {
                violated("lost: in the end \(process.name) does not find session \(id.text)")
            }
            return
        }
        if record.ended.contains(where: isKept) {
            violated("revived: in the end \(process.name) reads session \(id.text), which was ended")
        }
        check(session, record, process) { _ in true }
    }

    private mutating func check(
        _ session: Session, _ record: SessionRecord, _ process: Process, _ isDue: (Promise) -> Bool
    ) {
        for (field, promise) in record.fields where isKept(promise) && isDue(promise) && session.data[field] == nil {
            violated("lost: \(process.name) does not find field \(field) in session \(session.id.text)")
        }
        let texts = session.messages.map { $0.content.string ?? "" }
        // A conversation keeps its last 20.
        let isWhole = session.messages.first?.number ?? 0 == 0
        for (message, promise) in record.messages where isKept(promise) && isDue(promise) && isWhole && !texts.contains(message) {
            violated("lost: \(process.name) does not find message \(message) in session \(session.id.text)")
        }
        let manySided = manySided
        let counted = texts.filter { !manySided.contains($0) }
        // A server that forgets has forgotten what it had done.
        if durability.keepsServerWork, Set(counted).count < counted.count {
            violated("twice: \(process.name) finds \(texts) in session \(session.id.text)")
        }
    }

    /// The sessions that a user's list shows when all is quiet again.
    public mutating func listed(_ ids: [SessionID], of user: String, _ process: Process) {
        for (id, record) in sessions where record.user == user {
            if record.endBegan == nil, isKept(record.created), !ids.contains(id) {
                violated("lost: in the end \(process.name) does not find session \(id.text) in the list of \(user)")
            }
            if record.ended.contains(where: isKept), ids.contains(id) {
                violated("revived: in the end \(process.name) finds session \(id.text) in the list of \(user)")
            }
        }
    }

    /// Whether a promise binds still: neither the server nor the process that gave it has forgotten.
    private func isKept(_ promise: Promise) -> Bool { durability.keepsServerWork && !forgetful.contains(promise.process) }

    // MARK: - Limits

    private var admissions: [String: Int] = [:]
    /// What the server admitted, by the window in which its clock was.
    private var serverWindows: [Int64: Int] = [:]
    /// Whether the server's clock is set while it works. It may then be in a window a second time, while it still fills the one that it has
    /// left: all windows together admit as often as there are limits.
    public var serverClockIsSet = false

    public mutating func decided(_ decision: RateLimitDecision, _ process: Process, limit: Int, window: Duration) {
        if crashed.contains(process) { return }
        guard decision.isAllowed else { return }
        let number = decision.at.milliseconds / window.milliseconds
        if serverClockIsSet, !decision.by.isLocal {
            serverWindows[number, default: 0] += 1
            let (count, bound) = (serverWindows.values.reduce(0, +), serverWindows.count * limit)
            if count > bound { violated("limit: the server admitted \(count) in \(serverWindows.count) windows, bound \(bound)") }
            return
        }
        let place = decision.by.isLocal ? process.name : "the server"
        let bound = decision.by.isLocal ? max(1, limit / processes) : limit
        admissions["\(place) in window \(number)", default: 0] += 1
        if let count = admissions["\(place) in window \(number)"], count > bound {
            guard decision.by.isLocal || durability.keepsServerWork else { return }
            violated("limit: \(place) admitted \(count) in window \(number), bound \(bound)")
        }
    }

    /// Charges, each under a name: what was acknowledged, and what was tried at all.
    private var charged = 0
    /// Those of them that a process decided, and may forget when it ends.
    private var chargedHere: [Process: Int] = [:]

    public mutating func charged(by process: Process, _ decider: Decider) {
        if crashed.contains(process) { return }
        charged += 1
        if decider.isLocal { chargedHere[process, default: 0] += 1 }
    }

    public var chargesTried = 0

    public mutating func chargedInTheEnd(_ used: Int, _ process: Process) {
        if durability.keepsServerWork, used < charged {
            violated("lost: in the end \(process.name) sees \(used) charged of \(charged)")
        }
        if used > chargesTried { violated("twice: in the end \(process.name) sees \(used) charged of \(chargesTried)") }
    }

    // MARK: - Low-level calls

    public enum Increment: Sendable { case done, unknown, refused }

    private var increments: [Increment: Int] = [:]

    public mutating func incremented(_ outcome: Increment) { increments[outcome, default: 0] += 1 }

    public mutating func countedInTheEnd(_ count: Int, _ process: Process) {
        let (done, unknown) = (increments[.done, default: 0], increments[.unknown, default: 0])
        if durability.keepsServerWork, count < done { violated("lost: in the end \(process.name) counts \(count) of \(done)") }
        if count > done + unknown {
            violated("twice: in the end \(process.name) counts \(count) of \(done), and \(unknown) whose outcome is unknown")
        }
    }

    // MARK: - Idempotency

    private var answers: [String: Bytes] = [:]

    /// Who had the right to a request's effect: a process that was cut off, and since when, until the server has heard of it.
    private struct Right: Sendable {
        let process: Process
        let isAway: Bool
        let began: Step
        var handedOver: Step?
    }

    private var rights: [String: [Right]] = [:]

    /// A process that was cut off at any moment of its request is not known of elsewhere until it has handed over.
    public mutating func tried(_ key: String, _ process: Process, isAway: Bool, began: Step) {
        rights[key, default: []].append(Right(process: process, isAway: isAway, began: began))
    }

    /// The process reaches the server, and nothing that it decided by itself waits any more.
    public mutating func handedOver(_ process: Process) {
        let step = now()
        for (key, list) in rights {
            for place in list.indices where list[place].process == process && list[place].handedOver == nil {
                rights[key]?[place].handedOver = step
            }
        }
    }

    /// The requests that two processes tried, one of them cut off and not heard of yet: what the one does is not known to the other; see
    /// `docs/decisions/0007-idempotency.md`.
    private var manySided: Set<String> {
        Set(
            rights.filter { _, list in
                list.contains { away in
                    away.isAway && list.contains { $0.process != away.process && $0.began < away.handedOver ?? .max }
                }
            }.keys)
    }

    /// The requests that were answered in two ways.
    private var contradicted: Set<String> = []

    /// When all is quiet again.
    public mutating func answeredInTheEnd() {
        guard durability.keepsServerWork else { return }
        for key in contradicted.subtracting(manySided).sorted() { violated("twice: request \(key) was answered in two ways") }
    }

    public mutating func answered(_ key: String, _ answer: Bytes, _ process: Process) {
        if crashed.contains(process) { return }
        trace?("    \(process.name): request \(key) is answered \(answer)")
        if let first = answers[key], first != answer { contradicted.insert(key) }
        answers[key] = answer
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
