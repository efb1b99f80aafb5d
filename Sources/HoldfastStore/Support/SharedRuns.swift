/// Who waits for work that is done again and again: one run at a time, and all who ask during a run share the one that follows it.
///
/// idle → `ask` → asked → `begin` → running → `end`, `begin` → idle, or running where somebody has asked meanwhile.
///
/// Whoever is told to begin does the runs, in one task, until there is none to do. So neither tasks nor runs become more with those who ask;
/// what remains of one that has left is that the run is made.
package struct SharedRuns: Sendable {
    private typealias Callers = [ObjectIdentifier: Promise<Void>]

    /// Whether somebody does the runs.
    private var isTaken = false
    /// Whether a run has to follow: what was asked for came after the present one had begun.
    package private(set) var isWanted = false
    /// Who waits for the present run, and who for the next.
    private var (present, next): (Callers, Callers) = ([:], [:])

    package init() {}

    /// Wants a run that begins later than this.
    ///
    /// - Parameter caller: who waits for its end, if anybody.
    /// - Returns: whether the caller has to see to it that the runs are made.
    package mutating func ask(_ caller: Promise<Void>?) -> Bool {
        isWanted = true
        if let caller { next[ObjectIdentifier(caller)] = caller }
        defer { isTaken = true }
        return !isTaken
    }

    /// Begins the next run; false where nobody wants one, and whoever made the runs is done.
    package mutating func begin() -> Bool {
        isTaken = isWanted
        guard isWanted else { return false }
        isWanted = false
        (present, next) = (next, [:])
        return true
    }

    /// Ends the present run; answers who is to be told how.
    package mutating func end() -> [Promise<Void>] {
        defer { present = [:] }
        return Array(present.values)
    }

    /// Forgets a caller that waits no longer.
    package mutating func leave(_ caller: Promise<Void>) {
        let id = ObjectIdentifier(caller)
        present[id] = nil
        next[id] = nil
    }
}
