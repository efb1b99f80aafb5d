import Holdfast
import HoldfastStore

// Fields that many change: what counts in the end is the later change, on whichever side of a partition it was made.

extension Ledger {
    /// A change of a field that others change too. No two of a field set it to the same value.
    struct FieldChange: Sendable {
        let process: Process
        let field: String
        /// Nil for a removal.
        let value: Int64?
        let began: (step: Step, at: Duration)
        /// When it was acknowledged; nil for one that is under way, or whose outcome nobody knows: it may be made at any time.
        var ended: (step: Step, at: Duration)?
        /// Nil unless it was acknowledged.
        var promise: Promise?
        /// The caller was told that nothing was changed.
        var isRefused = false
    }

    /// Which change of which session; what the other two are told.
    struct FieldChangeID: Sendable {
        let session: SessionID
        let number: Int
    }

    mutating func beginsToChange(
        _ id: SessionID, _ field: String, to value: Int64?, _ process: Process, at uptime: Duration
    ) -> FieldChangeID {
        let change = FieldChange(process: process, field: field, value: value, began: (now(), uptime))
        sessions[id]?.changes.append(change)
        return FieldChangeID(session: id, number: (sessions[id]?.changes.count ?? 0) - 1)
    }

    mutating func changed(_ session: Session, _ change: FieldChangeID, at uptime: Duration) {
        edit(change) { ledger, change in
            change.promise = ledger.promise(change.process, began: change.began.step, session.by)
            change.ended = (ledger.now(), uptime)
        }
    }

    mutating func hasNotChanged(_ change: FieldChangeID) {
        if durability.judgesEffects { edit(change) { _, change in change.isRefused = true } }
    }

    /// Nobody hears any more what a process that crashed would have said.
    private mutating func edit(_ id: FieldChangeID, _ body: (inout Ledger, inout FieldChange) -> Void) {
        guard var change = sessions[id.session]?.changes[id.number], !crashed.contains(change.process) else { return }
        body(&self, &change)
        sessions[id.session]?.changes[id.number] = change
    }

    /// What a session has of them under its new id: what was certain counts there too, everything else may have come along.
    func inherited(_ changes: [FieldChange], _ isOurs: (Promise) -> Bool) -> [FieldChange] {
        changes.map { change in
            var change = change
            if let promise = change.promise, isOurs(promise) { return change }
            (change.promise, change.ended) = (nil, nil)
            return change
        }
    }

    /// By how much the stamp of a later change may be the smaller one: by what clocks differ, and by a millisecond for each change of one
    /// field in the same millisecond.
    private var stampError: Duration { clockError * 2 + .milliseconds(10) }

    private func isBefore(_ change: FieldChange, _ other: FieldChange) -> Bool {
        guard let ended = change.ended else { return false }
        return ended.step < other.began.step && other.began.at - ended.at > stampError
    }

    /// The value of a field in the end must be that of a change that was made, or may have been; and none that is certain may be later.
    mutating func checkFields(_ session: Session, _ record: SessionRecord, _ process: Process) {
        for field in Set(record.changes.map(\.field)).sorted() {
            let changes = record.changes.filter { $0.field == field }
            let value = session.data[field]?.integer
            let name = "\(field) of session \(session.id.text)"
            let sources = changes.filter { $0.value == value && !$0.isRefused }
            let due = changes.filter { $0.promise.map(isKept) ?? false }
            func isOverruled(_ change: FieldChange) -> Bool { due.contains { isBefore(change, $0) } }
            // That there was none to begin with is older than everything.
            if value == nil, due.isEmpty || sources.contains(where: { !isOverruled($0) }) { continue }
            let found = value.map { "\($0)" } ?? "nothing"
            guard let source = sources.first(where: { !isOverruled($0) }) ?? sources.last else {
                let reason = changes.contains { $0.value == value } ? "refused" : value == nil ? "lost" : "foreign"
                violated("\(reason): in the end \(process.name) finds \(found) in \(name), which nobody was told")
                continue
            }
            guard let later = due.first(where: { isBefore(source, $0) }) else { continue }
            violated(
                "older: in the end \(process.name) finds \(found) in \(name), by \(source.process.name) at \(source.began.at), though "
                    + "\(later.process.name) has made it \(later.value.map { "\($0)" } ?? "nothing") at \(later.began.at) on "
                    + "\(later.promise?.isOnServer == true ? "the server" : "its own")")
        }
    }
}
