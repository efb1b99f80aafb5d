import HoldfastStore

/// The operations that this process has begun: what a request is known again by where the record is on a server that is away.
///
/// By a clock that nobody sets, because nothing of it outlives the process. Bounded by two generations: when the young one is full it becomes the old one, and what was old is forgotten.
final class BegunOperations: Sendable {
    private struct Operation {
        let content: Bytes
        let name: Bytes
        /// By `uptime`.
        let begun: Duration
    }

    private struct State {
        var young: [Key: Operation] = [:]
        var old: [Key: Operation] = [:]
    }

    private let limit: Int
    private let state = Locked(State())

    init(limit: Int = 10_000) { self.limit = max(2, limit) }

    func note(_ key: Key, _ content: Bytes, operation name: Bytes, at moment: Duration) {
        state.withLock { state in
            if state.young.count >= limit / 2 {
                state.old = state.young
                state.young = [:]
            }
            state.young[key] = Operation(content: content.compacted(), name: name.compacted(), begun: moment)
        }
    }

    /// Nil where the request is not known, was begun before that moment, or had another content.
    func operation(of key: Key, _ content: Bytes, notBefore oldest: Duration) -> Bytes? {
        state.withLock { state in
            guard let found = state.young[key] ?? state.old[key], found.content == content, found.begun >= oldest else {
                return nil
            }
            return found.name
        }
    }

    func forget(_ key: Key) {
        state.withLock { state in
            state.young[key] = nil
            state.old[key] = nil
        }
    }
}
