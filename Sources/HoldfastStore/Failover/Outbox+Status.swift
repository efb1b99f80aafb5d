import Synchronization

extension Outbox {
    /// Counts for health and metrics.
    public struct Status: Sendable, Hashable {
        /// How many entries wait.
        public let backlog: Int
        /// When the first in their order was accepted, which waits longest but for dead letters that were retried; nil where none waits.
        public let oldest: Timestamp?
        /// About what entries and dead letters take.
        public let bytes: Int
        public let deadLetters: Int
        /// How many entries the server has carried out since this process began.
        public let handedOver: Int
        /// How many were refused since then, because it was full.
        public let refused: Int
        /// Whether they are being handed over now.
        public let isReplaying: Bool
        /// Whether it outlives this process.
        public let isDurable: Bool

        /// For how long the oldest has waited; zero where none waits.
        public func age(at now: Timestamp) -> Duration { max(.zero, oldest.map { now - $0 } ?? .zero) }
    }

    public var status: Status {
        state.withLock { state in
            var number = state.first
            while number < state.next, state.entries[number] == nil { number += 1 }
            return Status(
                backlog: kept.load(ordering: .relaxed), oldest: state.entries[number]?.entry.accepted, bytes: state.bytes,
                deadLetters: state.dead.count, handedOver: state.handedOver,
                refused: state.refused, isReplaying: state.isReplaying,
                isDurable: store != nil)
        }
    }

    /// Entries that wait, in their order.
    ///
    /// - Parameter number: only those behind this one.
    public func entries(after number: Int64 = 0, limit: Int = 100) -> [OutboxEntry] {
        // In order outside of the lock, which every call takes.
        let numbers = state.withLock { state in
            state.entries.values.lazy.filter(\.isKept).map(\.entry.number).filter { $0 > number }
        }
        let page = numbers.sorted().prefix(max(0, limit))
        return state.withLock { state in page.compactMap { state.entries[$0]?.entry } }
    }
}
