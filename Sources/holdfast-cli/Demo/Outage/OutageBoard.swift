import Foundation
import Holdfast
import HoldfastStore

/// The table of what happens, drawn over itself on a terminal; elsewhere, once for each phase, in plain lines.
final class OutageBoard: Sendable {
    enum Mode: Sendable { case live, plain, silent }

    private let mode: Mode
    /// How many lines of the table stand on the screen.
    private let height = Locked(0)

    init(isQuiet: Bool) { mode = isQuiet ? .silent : isatty(STDOUT_FILENO) == 1 ? .live : .plain }

    /// Something that stays to be read, above the table.
    func tell(_ line: String) {
        guard mode != .silent else { return }
        Terminal.say(erasure + line)
    }

    /// The table as it is now; `isLast` leaves it to be read.
    func draw(_ title: String, _ instances: [OutageInstance], isLast: Bool = false) {
        guard mode == .live || mode == .plain && isLast else { return }
        let text = "\n" + bold(title) + "\n" + table(instances) + "\n"
        Terminal.say(erasure + text)
        height.withLock {
            $0 = isLast || mode == .plain ? 0 : text.split(separator: "\n", omittingEmptySubsequences: false).count
        }
    }

    private var erasure: String {
        height.withLock { height in
            defer { height = 0 }
            return height > 0 ? "\u{1B}[\(height)A\u{1B}[J" : ""
        }
    }

    private func bold(_ text: String) -> String { mode == .live ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

    private func table(_ instances: [OutageInstance]) -> String {
        var table = Table("", "", "DECIDED BY", "CALLS", "REFUSED", "MEDIAN", "WORST", "WAITING")
        for instance in instances {
            let status = instance.state.failover.outbox.status
            let age = status.age(at: instance.state.failover.time.now)
            let waiting = status.backlog == 0 ? "-" : "\(status.backlog), the oldest for \(Self.text(age))"
            let rows = [("cache", instance.cache), ("sessions", instance.sessions), ("limits", instance.limits)]
            for (place, (feature, meter)) in rows.enumerated() {
                let reading = meter.read()
                table.add(
                    place == 0 ? "instance \(instance.name)" : "", feature, reading.decider, "\(reading.calls)",
                    reading.refused == 0 ? "-" : "\(reading.refused)", reading.median.map(Self.text) ?? "-",
                    reading.worst.map(Self.text) ?? "-", place == 0 ? waiting : "")
            }
        }
        return table.text.split(separator: "\n", omittingEmptySubsequences: false).map { "  \($0)" }.joined(separator: "\n")
    }

    /// Three digits and a unit.
    static func text(_ span: Duration) -> String {
        let seconds = span.seconds
        if seconds < 0.001 { return "\(Int((seconds * 1e6).rounded())) µs" }
        if seconds < 1 { return "\((seconds * 1e4).rounded() / 10) ms" }
        return "\((seconds * 10).rounded() / 10) s"
    }
}
