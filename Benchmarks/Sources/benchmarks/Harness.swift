import Foundation
import HoldfastStore

/// One line of the table.
struct Row: Codable {
    let name: String
    /// Operations per second of the best round.
    let perSecond: Double
    /// Nanoseconds per operation of the best round.
    let nanoseconds: Double
    /// Against what it is measured in the same run; nil for a line that only informs.
    var peer: String?
    /// How many times as fast as the peer.
    var ratio: Double?
}

/// Measures by rounds, so that lines and their peers can be interleaved: machines of this kind change speed by the minute.
struct Meter {
    private(set) var rounds: [Double] = []

    /// Runs the body once and keeps how many operations it did a second.
    mutating func round(operations: Int, _ body: () async throws -> Void) async rethrows {
        let start = SystemTime().uptime
        try await body()
        let span = SystemTime().uptime - start
        rounds.append(Double(operations) / span.inSeconds)
    }

    /// Keeps what a foreign program measured of itself.
    mutating func note(perSecond: Double) { rounds.append(perSecond) }

    /// Keeps the median of a round of single calls.
    mutating func note(latencies: [Double]) { note(nanoseconds: latencies.sorted()[latencies.count / 2]) }

    mutating func note(nanoseconds: Double) { note(perSecond: 1e9 / nanoseconds) }

    var best: Double { rounds.max() ?? 0 }

    func row(_ name: String, against peer: (name: String, meter: Meter)? = nil) -> Row {
        Row(
            name: name, perSecond: best, nanoseconds: 1e9 / best, peer: peer?.name, ratio: peer.map { best / $0.meter.best })
    }
}

/// What a benchmark is: a name to call it by, and the lines that it gives.
protocol Benchmark: Sendable {
    static var name: String { get }
    static func run(_ options: Options) async throws -> [Row]
}

struct Options: Sendable {
    /// Scales the number of operations; 1 takes a few seconds a line.
    var scale = 1.0
    var rounds = 5
    /// For counting instructions: carry out this many operations of one line and nothing else.
    var onlyCount: Int?

    func count(_ operations: Int) -> Int { onlyCount ?? max(1, Int(Double(operations) * scale)) }
}

enum Table {
    static func print(_ rows: [Row]) {
        let width = max(20, rows.map(\.name.count).max() ?? 0)
        Swift.print(pad("", width), "     ops/s", "    ns/op", "   ratio")
        for row in rows {
            let ratio = row.ratio.map { String(format: "%7.2f× %@", $0, row.peer ?? "") } ?? "       –"
            Swift.print(
                pad(row.name, width), String(format: "%10.0f", row.perSecond), String(format: "%9.0f", row.nanoseconds), ratio)
        }
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
