import HoldfastStore

/// What the server's clock says, as far as this process has heard: its own wall clock may be another, and may be set.
///
/// A reply that carries the server's time says between what the difference to this process's ``/HoldfastStore/TimeSource/uptime`` lies: it was
/// written after the call was sent and before it was answered. The estimate moves only as far as that proves it wrong, so a slow reply
/// does not spoil it, and it is off by at most the time that one call took. It begins with this process's wall clock.
final class ServerClock: Sendable {
    private let time: any TimeSource
    /// Milliseconds by which the server's time since 1970 is ahead of `uptime`; nil until the server was heard.
    private let lead = Locked<Int64?>(nil)

    init(_ time: any TimeSource) { self.time = time }

    /// - Parameter sent: when the call was sent, by `uptime`.
    func heard(_ serverNow: Timestamp, sent: Duration) {
        let answered = time.uptime.milliseconds
        let least = serverNow.milliseconds - answered
        let most = max(least, serverNow.milliseconds - sent.milliseconds)
        let ours = time.now.milliseconds - answered
        lead.withLock { $0 = min(max($0 ?? ours, least), most) }
    }

    var now: Timestamp {
        guard let lead = lead.withLock({ $0 }) else { return time.now }
        return Timestamp(milliseconds: time.uptime.milliseconds + lead)
    }

    /// By how much it is ahead of this process's wall clock; negative where it is behind.
    var ahead: Duration { now - time.now }
}
