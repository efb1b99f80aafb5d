/// Which files make up a journal, and in what order: Redis 7's `appendonly.aof.manifest`.
///
///     file appendonly.aof.2.base.aof seq 2 type b
///     file appendonly.aof.3.incr.aof seq 3 type i
///
/// A base holds a whole key space, the increments behind it what changed since, in their order. History files (type `h`) are on
/// their way out: nothing reads them any more, and they are removed when the manifest that says so is durable.
struct JournalManifest: Hashable, Sendable {
    static let name = "appendonly.aof.manifest"
    static let temporaryName = "temp-appendonly.aof.manifest"
    static let temporaryBaseName = "temp-rewriteaof-bg.aof"

    struct File: Hashable, Sendable {
        var name: String
        var sequence: Int
    }

    var base: File?
    var increments: [File] = []
    var history: [File] = []

    /// What is read at the start, in order.
    var files: [File] { (base.map { [$0] } ?? []) + increments }

    static func base(_ sequence: Int) -> File { File(name: "appendonly.aof.\(sequence).base.aof", sequence: sequence) }
    static func increment(_ sequence: Int) -> File { File(name: "appendonly.aof.\(sequence).incr.aof", sequence: sequence) }

    /// Numbers that no file of the manifest has; history counts, because its files may still be there.
    var nextBase: File { Self.base(1 + highest([base].compactMap(\.self))) }
    var nextIncrement: File { Self.increment(1 + highest(increments)) }

    private func highest(_ files: [File]) -> Int { (files + history).map(\.sequence).max() ?? 0 }

    var text: String {
        func lines(_ files: [File], _ type: String) -> String {
            files.map { "file \($0.name) seq \($0.sequence) type \(type)\n" }.joined()
        }
        return lines([base].compactMap(\.self), "b") + lines(history, "h") + lines(increments, "i")
    }

    init() {}

    /// Reads a manifest as Redis writes it.
    ///
    /// - Throws: what is wrong with it, and in which line.
    init(parsing text: String) throws(ManifestError) {
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: true).enumerated() where !line.hasPrefix("#")
        {
            let words = line.split(separator: " ").map { $0.trimmingQuotes }
            var fields: [Substring: Substring] = [:]
            for place in stride(from: 0, to: words.count - 1, by: 2) { fields[words[place]] = words[place + 1] }
            guard let name = fields["file"].map(String.init), !name.isEmpty, !name.contains("/"),
                let sequence = fields["seq"].flatMap({ Int($0) }), sequence > 0, let type = fields["type"]
            else { throw ManifestError(line: number + 1) }
            let file = File(name: name, sequence: sequence)
            switch type {
            case "b" where base == nil: base = file
            case "i" where sequence > increments.last?.sequence ?? 0: increments.append(file)
            case "h": history.append(file)
            default: throw ManifestError(line: number + 1)
            }
        }
    }
}

/// A line of a manifest that is not as Redis writes it.
struct ManifestError: Error, Equatable {
    let line: Int
}

extension Substring {
    /// Names with special characters stand in quotes; those that are written here have none.
    fileprivate var trimmingQuotes: Substring {
        count >= 2 && hasPrefix("\"") && hasSuffix("\"") ? dropFirst().dropLast() : self
    }
}
