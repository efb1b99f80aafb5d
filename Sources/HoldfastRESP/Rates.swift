import HoldfastStore

/// How much there was in a second, as INFO tells it: on the average since INFO was asked before, at least a second ago.
///
/// Redis samples ten times a second whether or not anybody asks; this costs nothing until somebody does.
struct Rates {
    struct Count {
        var commands: Int
        var receivedBytes: Int
        var sentBytes: Int
    }

    private(set) var commands = 0
    private(set) var receivedKilobytes = 0.0
    private(set) var sentKilobytes = 0.0
    private var last: (moment: Duration, count: Count)

    init(at moment: Duration) { last = (moment, Count(commands: 0, receivedBytes: 0, sentBytes: 0)) }

    /// - Parameter count: everything since the server began, or since its counters were set to 0.
    mutating func take(_ count: Count, at moment: Duration) {
        let elapsed = (moment - last.moment).inSeconds
        guard elapsed >= 1 else { return }
        func rate(_ now: Int, _ before: Int) -> Double { Double(now < before ? now : now - before) / elapsed }
        commands = Int(rate(count.commands, last.count.commands).rounded())
        receivedKilobytes = rate(count.receivedBytes, last.count.receivedBytes) / 1024
        sentKilobytes = rate(count.sentBytes, last.count.sentBytes) / 1024
        last = (moment, count)
    }
}
