public import Holdfast
public import HoldfastStore

extension Ledger {
    struct SessionRecord: Sendable {
        let user: String
        let created: Promise
        /// When somebody first tried to end it.
        var endBegan: Step?
        var ended: [Promise] = []
        var fields: [String: Promise] = [:]
        var messages: [String: Promise] = [:]
        /// When somebody first tried to append each message.
        var attempts: [String: Step] = [:]

        /// All that says that it is there.
        var promises: [Promise] { [created] + fields.values + messages.values }
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
        let isMet = (endings[user] ?? []).contains { $0.ended ?? .max > began }
        sessions[id] = SessionRecord(
            user: user, created: promise(process, began: began, session.by), endBegan: isMet ? now() : nil)
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

    public mutating func beginsToEnd(_ ids: [SessionID]) -> Step {
        let step = now()
        for id in ids where sessions[id]?.endBegan == nil { sessions[id]?.endBegan = step }
        return step
    }

    public mutating func ended(_ ids: [SessionID], by process: Process, _ decider: Decider, began: Step) {
        if crashed.contains(process) { return }
        let promise = promise(process, began: began, decider)
        trace?("    \(process.name) has ended \(ids.map(\.text)) on \(decider.isLocal ? "its own" : "the server")")
        for id in ids { sessions[id]?.ended.append(promise) }
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

    // MARK: - Reads

    public mutating func read(_ session: Session?, _ id: SessionID, by decider: Decider, _ process: Process, began: Step) {
        if crashed.contains(process) { return }
        guard let record = sessions[id] else { return }
        let (isOnServer, known) = (!decider.isLocal, self)
        func isKnown(_ promise: Promise) -> Bool {
            promise.step < began && known.isKept(promise)
                && (promise.process == process || isOnServer && known.isHandedOver(promise, by: began))
        }
        guard let session else {
            if record.endBegan == nil, record.promises.contains(where: isOnServer ? isKnown : isKept) {
                violated("lost: \(process.name) was told by \(decider) that session \(id.text) is not there")
            }
            return
        }
        if let end = record.ended.first(where: isKnown) {
            violated("revived: \(process.name) read session \(id.text) by \(decider) at \(began), which ended at \(end.step)")
        }
        // What another process accepted by itself may still be on its way.
        if isOnServer { check(session, record, process, isKnown) }
    }

    /// When all is quiet again.
    public mutating func readAtEnd(_ session: Session?, _ id: SessionID, _ process: Process) {
        guard let record = sessions[id] else { return }
        guard let session else {
            if record.endBegan == nil, record.promises.contains(where: isKept) {
                violated("lost: in the end \(process.name) does not find session \(id.text)")
            }
            return
        }
        if record.ended.contains(where: isKept) {
            violated("revived: in the end \(process.name) reads session \(id.text), which was ended")
        }
        let known = self
        check(session, record, process, known.isKept)
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
            if record.endBegan == nil, record.promises.contains(where: isKept), !ids.contains(id) {
                violated("lost: in the end \(process.name) does not find session \(id.text) in the list of \(user)")
            }
            if record.ended.contains(where: isKept), ids.contains(id) {
                violated("revived: in the end \(process.name) finds session \(id.text) in the list of \(user)")
            }
        }
    }
}
