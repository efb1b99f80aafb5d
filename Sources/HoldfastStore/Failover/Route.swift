public import Synchronization

/// How a call goes that begins now: what ``Failover`` knows of the server, in one word that calls read without its lock.
///
/// It is written under the lock, with the state that it mirrors. A call that reads it in the moment in which that changes is a call that
/// began a moment earlier; the lock would have let it go, too. And the generation, which comes with the same read, says what becomes of its
/// failure. Whoever has learnt of a change in any other way reads the changed word: it is stored with `releasing` and loaded with
/// `acquiring`.
@usableFromInline struct Route: RawRepresentable, AtomicRepresentable, Sendable {
    @usableFromInline let rawValue: UInt64

    @inlinable init(rawValue: UInt64) { self.rawValue = rawValue }

    /// - Parameter isPlain: whether there is nothing to do for a call that succeeds but to make it.
    init(generation: Int, isPlain: Bool) { rawValue = UInt64(generation) << 1 | (isPlain ? 1 : 0) }

    @inlinable var isPlain: Bool { rawValue & 1 == 1 }
    /// ``ServerHealth/generation`` when the call began.
    @inlinable var generation: Int { Int(rawValue >> 1) }
}
