import HoldfastStore

/// One time of telling of changes, from `established` to `lost`.
///
/// `lost` comes at once when any of its connections ends, from that connection's event loop, and never before `established` or after a
/// later session's events: the tracker begins that one only when this has ended.
final class TrackingSession: Sendable {
    typealias Observer = @Sendable (KeyChangeEvent) -> Void

    private struct State {
        var isEstablished = false
        var hasEnded = false
        var streams: [InvalidationStream] = []
    }

    private let observe: Observer
    private let alarm: Alarm
    private let state = Locked(State())

    /// - Parameter alarm: rung when the session ends.
    init(_ observe: @escaping Observer, _ alarm: Alarm) {
        self.observe = observe
        self.alarm = alarm
    }

    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    func add(_ stream: InvalidationStream) {
        let isTooLate = state.withLock { state in
            state.streams.append(stream)
            return state.hasEnded
        }
        if isTooLate { stream.close() }
    }

    func told(_ message: InvalidationMessage) {
        switch message {
        case .changed(let keys): observe(.changed(keys))
        case .flushed: observe(.flushed)
        case .answer, .nothing: break
        }
    }

    func established(_ coverage: ChangeCoverage, elapsed: Duration) {
        guard !hasEnded else { return }
        observe(.established(coverage, elapsed: elapsed))
        // Where it ended while the observer heard that it began, nobody has told that yet.
        let endedMeanwhile = state.withLock { state in
            state.isEstablished = true
            return state.hasEnded
        }
        if endedMeanwhile { observe(.lost) }
    }

    /// Only the tracker's own task confirms, and begins sessions: a late word of this one cannot be taken for a later one's.
    func confirmed(elapsed: Duration) {
        if !hasEnded { observe(.confirmed(elapsed: elapsed)) }
    }

    func end() {
        let (tells, streams) = state.withLock { state -> (Bool, [InvalidationStream]) in
            guard !state.hasEnded else { return (false, []) }
            state.hasEnded = true
            return (state.isEstablished, state.streams)
        }
        if tells { observe(.lost) }
        for stream in streams { stream.close() }
        alarm.ring()
    }
}
