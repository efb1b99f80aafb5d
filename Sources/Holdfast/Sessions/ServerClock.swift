import HoldfastStore
import Synchronization

/// What the server's clock says, as far as this process has heard: its own clock may be another.
///
/// A reply that carries the server's time says between what the difference lies: it was written after the call was sent and before it was
/// answered. The estimate moves only as far as that proves it wrong, so a slow reply does not spoil it, and it is off by at most the time
/// that one call took.
final class ServerClock: Sendable {
    private let time: any TimeSource
    /// Milliseconds by which the server is ahead of this process.
    private let lead = Atomic<Int64>(0)

    init(_ time: any TimeSource) { self.time = time }

    /// - Parameter sent: when the call was sent, on this process's clock.
    func heard(_ serverNow: Timestamp, sent: Timestamp) {
        let least = serverNow.milliseconds - time.now.milliseconds
        let most = max(least, serverNow.milliseconds - sent.milliseconds)
        lead.store(min(max(lead.load(ordering: .relaxed), least), most), ordering: .relaxed)
    }

    var now: Timestamp { Timestamp(milliseconds: time.now.milliseconds + lead.load(ordering: .relaxed)) }
}
