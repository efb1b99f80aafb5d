import Foundation
import Holdfast
import HoldfastStore

/// What commands say: results on standard output, everything else on standard error.
enum Terminal {
    /// Written out at once: a long-running command may be read through a pipe.
    static func say(_ line: String = "") {
        print(line)
        fflush(nil)
    }

    static func complain(_ line: String) {
        FileHandle.standardError.write(Data("holdfast: \(line)\n".utf8))
    }

    /// One JSON document on one line.
    static func say(json value: JSONValue) { print(value.encoded()?.lossyString ?? "null") }

    /// One JSON document, indented, its keys in order.
    static func say(document value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}

/// Rows under headings, in columns as wide as they need to be.
struct Table {
    private let headings: [String]
    private var rows: [[String]] = []

    /// Without headings the first row is just the first row.
    init(_ headings: String...) { self.headings = headings }

    mutating func add(_ cells: String...) { rows.append(cells) }

    var text: String {
        let all = headings.isEmpty ? rows : [headings] + rows
        let columns = all.map(\.count).max() ?? 0
        // A line of one cell is a title and makes no column wider.
        let widths = (0..<columns).map { column in
            all.filter { $0.count > 1 && column < $0.count }.map { $0[column].count }.max() ?? 0
        }
        return all.map { cells in line(cells, widths) }.joined(separator: "\n")
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        let padded = zip(cells, widths).map { cell, width in cell + String(repeating: " ", count: max(0, width - cell.count)) }
        var line = padded.joined(separator: "  ")
        while line.last == " " { line.removeLast() }
        return line
    }
}
