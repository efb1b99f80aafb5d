import Foundation
import Holdfast
import HoldfastStore

/// The table of what happens, drawn over itself on a terminal; elsewhere, once for each phase, in plain lines.
///
/// No line is longer than ``width``: one that a terminal breaks in two would be one more than are drawn over.
final class OutageBoard: Sendable {
    enum Mode: Sendable { case live, plain, silent }

    /// One less than the columns of the narrowest terminal that is usual.
    static let width = 79

    /// What a feature of an instance has done.
    struct Row: Sendable {
        /// Empty below an instance's first.
        var instance = ""
        let feature: String
        let reading: OutageMeter.Reading
        var waiting = ""
    }

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
        let lines = Self.lines(instances.flatMap(Self.rows))
        let text = "\n" + bold(String(title.prefix(Self.width))) + "\n" + lines.joined(separator: "\n") + "\n"
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

    private static func rows(_ instance: OutageInstance) -> [Row] {
        let status = instance.state.failover.outbox.status
        let waiting = Self.waiting(status.backlog, for: status.age(at: instance.state.failover.time.now))
        return [
            Row(instance: instance.name, feature: "cache", reading: instance.cache.read(), waiting: waiting),
            Row(feature: "sessions", reading: instance.sessions.read()), Row(feature: "limits", reading: instance.limits.read()),
        ]
    }

    static func lines(_ rows: [Row]) -> [String] {
        var table = Table("", "", "DECIDED", "CALLS", "REFUSED", "MEDIAN", "WORST", "WAITING")
        for row in rows {
            let reading = row.reading
            table.add(
                row.instance, row.feature, reading.decider, text(reading.calls),
                reading.refused == 0 ? "-" : text(reading.refused), reading.median.map { text($0) } ?? "-",
                reading.worst.map { text($0) } ?? "-", row.waiting)
        }
        // What comes last gives way.
        return table.text.split(separator: "\n", omittingEmptySubsequences: false).map { String("  \($0)".prefix(width)) }
    }

    /// How many wait, and for how long the oldest has.
    static func waiting(_ count: Int, for age: Duration) -> String { count == 0 ? "-" : "\(text(count)), \(text(age)) old" }

    /// At most five characters, up to a thousand million.
    static func text(_ count: Int) -> String {
        if count < 100_000 { return "\(count)" }
        return count < 1_000_000 ? "\(count / 1000)k" : "\(count / 1_000_000)M"
    }

    /// About three digits, and a unit.
    static func text(_ span: Duration) -> String {
        let seconds = span.seconds
        if seconds < 0.001 { return "\(Int((seconds * 1e6).rounded())) µs" }
        if seconds < 0.1 { return "\((seconds * 1e4).rounded() / 10) ms" }
        if seconds < 1 { return "\(Int((seconds * 1000).rounded())) ms" }
        return seconds < 100 ? "\((seconds * 10).rounded() / 10) s" : "\(Int(seconds.rounded())) s"
    }
}
