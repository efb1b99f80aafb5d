/// How much was consumed of late, by the clock that nobody sets: in the last window, and at most in the one before.
///
/// What still counts is told exactly by the local state, which goes by the wall clock. Where that was set meanwhile the state tells nothing, and
/// this is the bound: not less than what still counts, whatever else waits of a long outage.
struct RecentConsumption: Sendable {
    /// A turn begins with the first consumption after the last one has ended, and lasts as long as consumption counts.
    private var start: Duration
    private var span: Duration
    private var amount: Int
    /// Of the turn before: all of it came before this one began.
    private var earlier = 0

    init(_ amount: Int, at now: Duration, counting span: Duration) { (start, self.span, self.amount) = (now, span, amount) }

    mutating func add(_ amount: Int, at now: Duration, counting span: Duration) {
        if now >= start + self.span {
            earlier = now < start + self.span * 2 ? self.amount : 0
            (start, self.span, self.amount) = (now, span, 0)
        }
        self.span = max(self.span, span)
        self.amount += amount
    }

    func counted(at now: Duration) -> Int { now < start + span ? amount + earlier : amount }
}
