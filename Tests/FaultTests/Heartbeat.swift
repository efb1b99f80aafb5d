import HoldfastStore
import NIOCore
import NIOPosix

/// How far this process has come since a moment: time that stands still while the machine holds the process up.
///
/// A beat comes every 10 ms, later where the machine is loaded: each has waited for a timer, for a turn of each event loop and for one of
/// the task pool, which is what a call does that ends at its deadline. So a call that ends 25 beats after its deadline is late by
/// its own doing, however slow the machine is.
final class Heartbeat: Sendable {
    private static let pace = Duration.milliseconds(10)
    /// When each beat came, on the clock ``TimeSource/uptime``.
    private let beats = Locked<[Duration]>([])

    func run() async {
        let time = SystemTime()
        while (try? await time.sleep(for: Self.pace)) != nil {
            for loop in MultiThreadedEventLoopGroup.singleton.makeIterator() { try? await loop.submit {}.get() }
            await Task.yield()
            beats.withLock { $0.append(time.uptime) }
        }
    }

    /// - Returns: as many times 10 ms as there were beats since the moment.
    func elapsed(since moment: Duration) -> Duration {
        beats.withLock { beats in
            let first = beats.partitioningIndex { $0 > moment }
            return Self.pace * (beats.count - first)
        }
    }
}

extension [Duration] {
    /// The first place from which on the condition holds, in an array in which it never ceases to.
    fileprivate func partitioningIndex(where condition: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = (low + high) / 2
            if condition(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
