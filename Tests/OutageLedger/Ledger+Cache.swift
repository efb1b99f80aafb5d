public import Holdfast
public import HoldfastStore

extension Ledger {
    fileprivate struct Value: Sendable {
        let key: String
        let writer: Process
        /// From when on whoever invalidates the key means this value too; nil while it is being written.
        var end: Step?
    }

    fileprivate struct Invalidation: Sendable {
        let process: Process
        let isOnServer: Bool
        let began: Step
        let ended: Step
        let endedAt: Duration
    }

    struct CacheRecord: Sendable {
        fileprivate var values: [Int: Value] = [:]
        fileprivate var invalidations: [String: [Invalidation]] = [:]
        /// Which values were never written: their callers were told so.
        fileprivate var refused: Set<Int> = []
        /// Which values were replaced where they were still there, and by whom.
        fileprivate var replaced: [Int: Process] = [:]
        fileprivate var flights: [Step: Flights] = [:]
        fileprivate var joinable: [Place: Step] = [:]
    }

    public mutating func newValue(_ key: String, by process: Process, isFinished: Bool) -> Int {
        let value = cache.values.count + 1
        cache.values[value] = Value(key: key, writer: process, end: isFinished ? now() : nil)
        return value
    }

    /// Whether or not it was written: nothing of it is under way any more.
    public mutating func finished(_ value: Int) {
        let step = now()
        cache.values[value]?.end = step
    }

    /// The caller was told that it was not written.
    public mutating func refused(_ value: Int, _ process: Process) {
        if durability.judgesEffects, !crashed.contains(process) { cache.refused.insert(value) }
    }

    /// A change was made on the condition that the value was still there.
    public mutating func replaced(_ value: Int, of key: String, _ process: Process, _ decider: Decider) {
        if crashed.contains(process) { return }
        if decider.isLocal { violated("condition: \(process.name) decided by itself about \(key)=\(value)") }
        if let other = cache.replaced[value] {
            violated("twice: \(key)=\(value) was replaced by \(other.name) and by \(process.name)")
        }
        cache.replaced[value] = process
    }

    // MARK: - Flights

    /// Who may have met in one flight, or in several that followed each other without a pause.
    fileprivate struct Flights: Sendable {
        let began: Step
        var callers = 0
    }

    fileprivate struct Place: Hashable {
        let process: Process
        let key: String
    }

    /// - Returns: when the flight began that this caller joins, at the earliest; what ``endsFilling(_:_:_:)`` is told.
    public mutating func beginsFilling(_ key: String, _ process: Process) -> Step {
        let (step, place) = (now(), Place(process: process, key: key))
        let began = cache.joinable[place] ?? step
        cache.joinable[place] = began
        cache.flights[began, default: Flights(began: began)].callers += 1
        return began
    }

    public mutating func endsFilling(_ key: String, _ process: Process, _ began: Step) {
        cache.flights[began]?.callers -= 1
        guard cache.flights[began]?.callers == 0 else { return }
        cache.flights[began] = nil
        let place = Place(process: process, key: key)
        if cache.joinable[place] == began { cache.joinable[place] = nil }
    }

    /// Nobody joins a flight of the process's own that its change has ended.
    public mutating func beginsToInvalidate(_ keys: [String], _ process: Process) -> Step {
        for key in keys { cache.joinable[Place(process: process, key: key)] = nil }
        return now()
    }

    // MARK: - Reads

    public mutating func invalidated(_ keys: [String], _ process: Process, by decider: Decider, began: Step, at uptime: Duration)
    {
        if crashed.contains(process) { return }
        let invalidation = Invalidation(
            process: process, isOnServer: !decider.isLocal, began: began, ended: now(), endedAt: uptime)
        for key in keys {
            cache.invalidations[key, default: []].append(invalidation)
            cache.joinable[Place(process: process, key: key)] = nil
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
        guard let written = cache.values[value], written.key == key else { return violated("\(key): \(value) was never written") }
        if cache.refused.contains(value) { violated("refused: \(process.name) read \(key)=\(value), which was not written") }
        if case .local = source, written.writer != process {
            violated("foreign: \(process.name) read \(key)=\(value) from its own store, which \(written.writer.name) had written")
        }
        guard let end = written.end else { return }
        // Before then the process asked the server, or dropped what it had.
        let returned = returns[process].flatMap { $0 < began ? $0 : nil } ?? 0
        for old in cache.invalidations[key] ?? [] where old.began > end && old.ended < began {
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

    /// The server said that there is a value, which is one that was not invalidated before that.
    public mutating func exists(_ key: String, _ process: Process, began: Step) {
        if crashed.contains(process) { return }
        let ends = cache.values.values.filter { $0.key == key }.map { $0.end ?? .max }
        let old = cache.invalidations[key, default: []].filter {
            ($0.isOnServer || $0.process == process) && $0.ended < began
        }
        if ends.allSatisfy({ end in old.contains { $0.began > end } }) {
            violated("revived: \(process.name) was told at \(began) that there is a value of \(key)")
        }
    }

    /// When all is quiet again.
    public mutating func readAtEnd(_ value: Int, of key: String, _ process: Process) {
        guard let written = cache.values[value] else { return violated("\(key): \(value) was never written") }
        guard let end = written.end else { return }
        for old in cache.invalidations[key] ?? [] where old.began > end {
            if !old.isOnServer, crashed.contains(old.process), !durability.keepsLocalWork { continue }
            violated(
                "revived: in the end \(process.name) reads \(key)=\(value), written by \(end), though \(old.process.name) had invalidated "
                    + "it in \(old.began)...\(old.ended) on \(old.isOnServer ? "the server" : "its own")")
        }
    }
}
