/// When something happened, on both clocks: the wall clock to tell people and other processes, the one that never steps to measure by.
public struct Moment: Sendable, Hashable {
    public var wall: Timestamp
    public var uptime: Duration

    public init(_ time: any TimeSource) {
        wall = time.now
        uptime = time.uptime
    }

    public init(wall: Timestamp, uptime: Duration) {
        self.wall = wall
        self.uptime = uptime
    }

    /// By how much the wall clock is ahead of the other one: the same for any two moments between which nobody has set it.
    public var lead: Duration { .milliseconds(wall.milliseconds) - uptime }

    /// What the wall clock would say at another time, had nobody set it since.
    public func wall(at uptime: Duration) -> Timestamp { Timestamp(milliseconds: (lead + uptime).milliseconds) }
    /// When the wall clock says so, if nobody sets it.
    public func uptime(at wall: Timestamp) -> Duration { .milliseconds(wall.milliseconds) - lead }
}
