public import Holdfast
public import HoldfastStore

extension Ledger {
    struct SessionRecord: Sendable {
        let user: String
        let created: Promise
        let createdAt: Timestamp
        /// When somebody tried to end it, except for what was told not to have had its effect.
        var endTries: [Step] = []
        var ended: [Promise] = []
        /// The ids that it had before, the latest last: whoever keeps one of the last 8 keeps it.
        var former: [SessionID] = []
        var fields: [String: Promise] = [:]
        /// Of the fields that many change.
        var changes: [FieldChange] = []
        var messages: [String: Promise] = [:]
        /// When somebody first tried to append each message.
        var attempts: [String: Step] = [:]
        /// Until when it lives at least.
        var expiries: [(promise: Promise, expires: Timestamp)] = []
        /// Until when extensions that are over let it live at most, and how many are under way.
        var latest = Timestamp(milliseconds: 0)
        var extending = 0

        /// All that says that it is there.
        var promises: [Promise] { [created] + fields.values + messages.values + expiries.map(\.promise) }
        var mayHaveEnded: Bool { !endTries.isEmpty }
    }

    public var ids: [SessionID] { sessions.keys.sorted { $0.text < $1.text } }

    public func ids(of user: String) -> [SessionID] { ids.filter { sessions[$0]?.user == user } }

    // MARK: - Beginning and end

    /// - Parameter began: when its creation began: whoever ends all of the user's sessions since may have met it.
    public mutating func created(_ session: Session, by process: Process, began: Step) {
        // Nobody hears any more what a process that crashed would have said.
        if crashed.contains(process) { return }
        let (id, user) = (session.id, session.userID)
        trace?("    \(process.name) has created session \(id.text) of \(user)")
        let isMet = (endings[user] ?? []).contains {
            $0.ended ?? .max > began || areOfOneMoment(session.created, $0.at)
        }
        let created = promise(process, began: began, session.by)
        sessions[id] = SessionRecord(
            user: user, created: created, createdAt: session.created, endTries: isMet ? [now()] : [], latest: session.expires)
    }

    /// Under its new id a session has all that the server had of it; under its old one it has ended. What others have accepted for that by
    /// themselves, and had not handed over by then, binds nobody any more: it is on no id, and they have it as dead letters.
    public mutating func rotated(_ old: SessionID, to session: Session, by process: Process, began: Step) {
        if crashed.contains(process) { return }
        ended([old], by: process, .server, began: began)
        guard let record = sessions[old], sessions[session.id] == nil else { return }
        created(session, by: process, began: began)
        let known = self
        func isOurs(_ promise: Promise) -> Bool {
            promise.step < began && (promise.process == process || known.isHandedOver(promise, by: began))
        }
        var copy = sessions[session.id]
        // Whoever ends it by its old id may mean this one too.
        if record.endTries != [began] { copy?.endTries.append(now()) }
        copy?.former = (record.former + [old]).suffix(8)
        copy?.fields = record.fields.filter { isOurs($0.value) }
        copy?.changes = inherited(record.changes, isOurs)
        copy?.messages = record.messages.filter { isOurs($0.value) }
        copy?.attempts = record.attempts
        copy?.expiries = record.expiries.filter { isOurs($0.promise) }
        copy?.latest = max(record.latest, session.expires)
        copy?.extending = record.extending
        sessions[session.id] = copy
    }

    public func user(of id: SessionID) -> String { sessions[id]?.user ?? "" }

    /// Whether a session had that id before.
    public func isSuccessor(_ id: SessionID, of old: SessionID?) -> Bool {
        old.map { sessions[id]?.former.contains($0) ?? false } ?? false
    }

    /// - Returns: what ``endsAll(of:_:)`` is told when it is over.
    public mutating func beginsToEndAll(of user: String) -> Int {
        endings[user, default: []].append((now(), nil, Timestamp(milliseconds: 0)))
        return endings[user, default: []].count - 1
    }

    /// - Parameter moment: when it was decided.
    public mutating func endsAll(of user: String, _ number: Int, at moment: Timestamp) {
        let step = now()
        endings[user]?[number].ended = step
        endings[user]?[number].at = moment
    }

    /// Moments decide whether a session was there when all were ended, to the millisecond.
    private func areOfOneMoment(_ creation: Timestamp, _ ending: Timestamp) -> Bool {
        abs((creation - ending).milliseconds) <= 1
    }

    public mutating func beginsToEnd(_ ids: [SessionID]) -> Step {
        let step = now()
        for id in ids { sessions[id]?.endTries.append(step) }
        return step
    }

    /// All others are about to be ended. One that its process has not handed over yet may end with them: its place among the user's sessions
    /// is not known on the server.
    public mutating func keeps(_ id: SessionID) {
        let step = now()
        if let created = sessions[id]?.created, !isHandedOver(created) { sessions[id]?.endTries.append(step) }
    }

    /// What was told to have had no effect.
    public mutating func hasNotEnded(_ ids: [SessionID], _ began: Step) {
        for id in ids { sessions[id]?.endTries.removeAll { $0 == began } }
    }

    /// - Parameter moment: when all of a user's were ended; nil where these were meant.
    public mutating func ended(
        _ ids: [SessionID], by process: Process, _ decider: Decider, began: Step, ofAllAt moment: Timestamp? = nil
    ) {
        if crashed.contains(process) { return }
        let promise = promise(process, began: began, decider)
        trace?("    \(process.name) has ended \(ids.map(\.text)) on \(decider.isLocal ? "its own" : "the server")")
        for id in ids {
            if let moment, let created = sessions[id]?.createdAt, areOfOneMoment(created, moment) { continue }
            sessions[id]?.ended.append(promise)
        }
    }

    // MARK: - Changes

    public mutating func changed(_ session: Session, field: String, by process: Process, began: Step) {
        if crashed.contains(process) { return }
        let promise = promise(process, began: began, session.by)
        sessions[session.id]?.fields[field] = promise
    }

    public mutating func beginsToAppend(_ message: String, to id: SessionID) -> Step {
        let step = now()
        if sessions[id]?.attempts[message] == nil { sessions[id]?.attempts[message] = step }
        return step
    }

    public mutating func appended(_ session: Session, message: String, by process: Process, began: Step) {
        if crashed.contains(process) { return }
        let promise = promise(process, began: began, session.by)
        sessions[session.id]?.messages[message] = promise
    }

    // MARK: - Expiry

    public enum ExtensionOutcome: Sendable {
        case done(Session, OperationID?)
        case refused
        case unknown
        /// It was acknowledged before, whatever became of it this time.
        case repeated(OperationID)
    }

    /// The extensions with a name that were acknowledged.
    struct Extension: Sendable {
        let id: SessionID
        let operation: OperationID
        let promise: Promise
    }

    /// One that was acknowledged.
    public func anExtension(_ number: UInt64) -> (SessionID, OperationID)? {
        if extensions.isEmpty { return nil }
        let found = extensions[Int(number % UInt64(extensions.count))]
        return (found.id, found.operation)
    }

    public mutating func beginsToExtend(_ id: SessionID) -> Step {
        sessions[id]?.extending += 1
        return now()
    }

    /// - Parameters:
    ///   - now: when it is over.
    ///   - span: by how much it was to be extended.
    public mutating func extended(
        _ id: SessionID, _ outcome: ExtensionOutcome, at now: Timestamp, by span: Duration, _ process: Process, began: Step
    ) {
        sessions[id]?.extending -= 1
        var mayCount = true
        switch outcome {
        case .unknown: break
        case .refused: mayCount = false
        case .done(let session, let operation):
            if crashed.contains(process) { break }
            let promise = promise(process, began: began, session.by)
            sessions[id]?.expiries.append((promise, session.expires))
            if let operation { extensions.append(Extension(id: id, operation: operation, promise: promise)) }
        case .repeated(let operation): mayCount = !isKnown(operation, process)
        }
        if mayCount, let latest = sessions[id]?.latest { sessions[id]?.latest = max(latest, now + span) }
    }

    /// Whether a repetition must be known again: a process knows what it has told its callers, wherever that was decided, and so does the
    /// server where it is asked.
    private func isKnown(_ operation: OperationID, _ process: Process) -> Bool {
        extensions.contains { $0.operation == operation && $0.promise.process == process && isKept($0.promise) }
    }

    private mutating func checkExpiry(
        _ session: Session, _ record: SessionRecord, _ process: Process, at now: Timestamp, _ isDue: (Promise) -> Bool
    ) {
        if let due = record.expiries.filter({ isDue($0.promise) }).map(\.expires).max(),
            session.expires + clockError < min(due, session.ends)
        {
            violated("lost: \(process.name) sees session \(session.id.text) end at \(session.expires), not at \(due)")
        }
        let latest = max(record.latest, now + session.idleTTL)
        // A near copy counts what is left from the arrival of a reply, which may have been as late as a call may take.
        if record.extending == 0, session.expires > latest + max(clockError, .seconds(5)) {
            violated("twice: \(process.name) sees session \(session.id.text) end at \(session.expires), not by \(latest)")
        }
    }

    // MARK: - Reads

    /// - Parameter now: when it was read.
    public mutating func read(
        _ session: Session?, _ id: SessionID, by decider: Decider, _ process: Process, began: Step, at now: Timestamp
    ) {
        if crashed.contains(process) { return }
        guard let record = sessions[id] else { return }
        let (isOnServer, known) = (!decider.isLocal, self)
        func isKnown(_ promise: Promise) -> Bool {
            promise.step < began && known.isKept(promise)
                && (promise.process == process || isOnServer && known.isHandedOver(promise, by: began))
        }
        guard let session else {
            if !record.mayHaveEnded, record.promises.contains(where: isOnServer ? isKnown : isKept) {
                violated("lost: \(process.name) was told by \(decider) that session \(id.text) is not there")
            }
            return
        }
        if let end = record.ended.first(where: isKnown) {
            violated("revived: \(process.name) read session \(id.text) by \(decider) at \(began), which ended at \(end.step)")
        }
        // What another process accepted by itself may still be on its way.
        if isOnServer {
            check(session, record, process, isKnown)
            checkExpiry(session, record, process, at: now, isKnown)
        }
    }

    /// When all is quiet again.
    public mutating func readAtEnd(_ session: Session?, _ id: SessionID, _ process: Process, at now: Timestamp) {
        guard let record = sessions[id] else { return }
        guard let session else {
            if !record.mayHaveEnded, record.promises.contains(where: isKept) {
                violated("lost: in the end \(process.name) does not find session \(id.text)")
            }
            return
        }
        if record.ended.contains(where: isKept) {
            violated("revived: in the end \(process.name) reads session \(id.text), which was ended")
        }
        let known = self
        check(session, record, process, known.isKept)
        checkFields(session, record, process)
        checkExpiry(session, record, process, at: now, known.isKept)
    }

    private mutating func check(
        _ session: Session, _ record: SessionRecord, _ process: Process, _ isDue: (Promise) -> Bool
    ) {
        for (field, promise) in record.fields where isDue(promise) && session.data[field] == nil {
            violated("lost: \(process.name) does not find field \(field) in session \(session.id.text)")
        }
        let texts = session.messages.map { $0.content.string ?? "" }
        // A conversation keeps its last 20.
        let isWhole = session.messages.first?.number ?? 0 == 0
        for (message, promise) in record.messages where isDue(promise) && isWhole && !texts.contains(message) {
            violated("lost: \(process.name) does not find message \(message) in session \(session.id.text)")
        }
        let manySided = manySided
        // A server that forgets has forgotten what it had done.
        let counted = texts.filter { !manySided.contains($0) && isAfterLoss(record.attempts[$0] ?? 0) }
        if Set(counted).count < counted.count {
            violated("twice: \(process.name) finds \(texts) in session \(session.id.text)")
        }
    }

    /// The sessions that a user's list shows when all is quiet again.
    public mutating func listed(_ ids: [SessionID], of user: String, _ process: Process) {
        for (id, record) in sessions where record.user == user {
            if !record.mayHaveEnded, record.promises.contains(where: isKept), !ids.contains(id) {
                violated("lost: in the end \(process.name) does not find session \(id.text) in the list of \(user)")
            }
            if ids.contains(id), record.ended.contains(where: isKept) {
                violated("revived: in the end \(process.name) finds session \(id.text) in the list of \(user)")
            }
        }
    }
}
