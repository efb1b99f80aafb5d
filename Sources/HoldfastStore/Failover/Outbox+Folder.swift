// How the folder comes to hold what this process knows, also where the disk fails in between.

/// The numbers of entries and dead letters, and the names of notes, of which the folder may hold something else than this process.
///
/// A write that failed may be on the disk all the same, or come to be there when the disk works again. So after such a failure it is
/// written once more how it is: there, or gone.
struct OutboxDebts: Sendable {
    var entries: Set<Int64> = []
    var dead: Set<Int64> = []
    var notes: Set<String> = []
    /// Whether some of what was owed is being told.
    var isBeingPaid = false

    var isEmpty: Bool { entries.isEmpty && dead.isEmpty && notes.isEmpty && !isBeingPaid }
}

/// How some of what is owed is at present: the entry or the letter, or that there is none; and the note.
private struct OutboxPayment: Sendable {
    var entries: [(number: Int64, entry: OutboxEntry?)] = []
    var dead: [(number: Int64, letter: DeadLetter?)] = []
    var notes: [(name: String, value: Bytes)] = []

    var count: Int { entries.count + dead.count + notes.count }

    var operations: [Operation] {
        Self.write(Outbox.deadKey, dead.compactMap { $0.letter.map { HashField($0.entry.field, $0.encoded) } })
            + Self.write(Outbox.entriesKey, entries.compactMap { $0.entry.map { HashField($0.field, $0.encoded) } })
            + Self.remove(Outbox.entriesKey, entries.filter { $0.entry == nil }.map(\.number))
            + Self.remove(Outbox.deadKey, dead.filter { $0.letter == nil }.map(\.number))
            + Self.write(Outbox.notesKey, notes.map { HashField(Bytes($0.name), $0.value) })
    }

    private static func write(_ key: Key, _ fields: [HashField]) -> [Operation] {
        fields.isEmpty ? [] : [.hashes(.hset(key, fields))]
    }

    private static func remove(_ key: Key, _ numbers: [Int64]) -> [Operation] {
        numbers.isEmpty ? [] : [.hashes(.hdel(key, numbers.map { Bytes($0) }))]
    }
}

extension Outbox {
    /// Whether the folder may hold something that has been handed over, taken back or refused, or miss a dead letter or a note: because a
    /// write to it failed, or is on its way.
    public var owesItsFolder: Bool { state.withLock { !$0.owed.isEmpty } }

    /// Brings the folder to what this process knows: otherwise the next start would carry out what has been carried out or refused,
    /// however late. ``Failover/run()`` has this done again and again, as have each hand-over and each entry that is added; the end of a
    /// process should do it. Nothing where nothing is owed.
    ///
    /// - Throws: ``ErrorCode/storageFailed`` where the folder still fails: it stays owed. ``ErrorCode/deadlineExceeded`` or
    ///   ``ErrorCode/cancelled`` for the caller's sake: it goes on.
    public func settleFolder() async throws(StoreError) {
        guard owesItsFolder else { return }
        let promise = Promise<Void>()
        askToSettle(promise)
        defer { state.withLock { $0.settlement.leave(promise) } }
        try await promise.wait(time)
    }

    /// The same for whoever has better to do than to wait for a disk.
    package func settleFolderSoon() {
        if owesItsFolder { askToSettle(nil) }
    }

    /// One that is under way may have looked already, so another one follows it, for all who have asked meanwhile.
    private func askToSettle(_ caller: Promise<Void>?) {
        guard state.withLock({ $0.settlement.ask(caller) }) else { return }
        Task.detached {
            while self.state.withLock({ $0.settlement.begin() }) {
                let outcome: Result<Void, StoreError>
                do throws(StoreError) {
                    outcome = .success(try await self.payAll())
                } catch {
                    outcome = .failure(error)
                }
                for caller in self.state.withLock({ $0.settlement.end() }) { caller.settle(outcome) }
            }
        }
    }

    private func payAll() async throws(StoreError) {
        guard let store else { return }
        while let payment = nextPayment() {
            do throws(StoreError) {
                let replies = try await store.execute(Batch(.transaction, payment.operations))
                for case .error(let error) in replies { throw StoreError(error) }
            } catch {
                state.withLock { state in
                    state.owed.isBeingPaid = false
                    for (number, _) in payment.entries { owe(&state, entry: number) }
                    for (number, _) in payment.dead { owe(&state, letter: number) }
                    for (name, _) in payment.notes { owe(&state, note: name) }
                }
                throw error
            }
            // Whoever writes last looks last: what has changed since is written once more, here or by who changed it.
            state.withLock { state in
                state.owed.isBeingPaid = false
                for (number, entry) in payment.entries where state.entries[number]?.entry != entry { owe(&state, entry: number) }
                for (number, letter) in payment.dead where state.dead[number] != letter { owe(&state, letter: number) }
                for (name, value) in payment.notes where state.notes[name] != value { owe(&state, note: name) }
            }
        }
    }

    /// Notes what has to be written, or written once more; nothing where there is no folder.
    func owe(_ state: inout State, entry: Int64? = nil, letter: Int64? = nil, note: String? = nil) {
        guard isDurable else { return }
        if let entry { state.owed.entries.insert(entry) }
        if let letter { state.owed.dead.insert(letter) }
        if let note { state.owed.notes.insert(note) }
    }

    /// Takes a part of what is owed; nil where there is nothing, or only what somebody is about to write.
    private func nextPayment() -> OutboxPayment? {
        state.withLock { state in
            var payment = OutboxPayment()
            // What is to be there first: a dead letter is there before its entry goes.
            for isThere in [true, false] {
                for number in state.owed.entries where payment.count < Self.window {
                    let waiting = state.entries[number]
                    guard (waiting != nil) == isThere, waiting?.isKept != false else { continue }
                    payment.entries.append((number, waiting?.entry))
                    state.owed.entries.remove(number)
                }
                for number in state.owed.dead where payment.count < Self.window && (state.dead[number] != nil) == isThere {
                    payment.dead.append((number, state.dead[number]))
                    state.owed.dead.remove(number)
                }
            }
            // There are few of them.
            payment.notes = state.owed.notes.compactMap { name in state.notes[name].map { (name, $0) } }
            state.owed.notes = []
            state.owed.isBeingPaid = payment.count > 0
            return payment.count == 0 ? nil : payment
        }
    }
}
