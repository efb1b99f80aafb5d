import HoldfastStore
import Synchronization

/// What the server's clock says, as far as this process has heard: its own clock may be another.
///
/// Each reply that carries the server's time tells the difference anew. It is told late by the time that the reply took, so what is
/// estimated is never ahead of the server by more than the two clocks drifted apart since.
final class ServerClock: Sendable {
    private let time: any TimeSource
    /// Milliseconds by which the server is ahead of this process.
    private let lead = Atomic<Int64>(0)

    init(_ time: any TimeSource) { self.time = time }

    func heard(_ serverNow: Timestamp) {
        lead.store(serverNow.milliseconds - time.now.milliseconds, ordering: .relaxed)
    }

    var now: Timestamp { Timestamp(milliseconds: time.now.milliseconds + lead.load(ordering: .relaxed)) }
}
