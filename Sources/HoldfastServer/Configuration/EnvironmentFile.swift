/// A `.env` file, read as Docker Compose and python-dotenv read it.
///
/// Lines are `NAME=value`, with an optional `export` before. A value without quotes ends at a `#` that begins it or follows white
/// space; `'…'` is taken literally; `"…"` knows `\n`, `\t`, `\"`, `\\` and `\$`. Nothing is expanded, so that a password
/// with a `$` is what it looks like. swift-configuration's own reader keeps quotes and comments as part of the value, which would
/// misread the `.env` files that people have; that is why this one exists.
struct EnvironmentFile: Sendable {
    private(set) var values: [String: String] = [:]
    /// Lines that say nothing, for a warning.
    private(set) var strayLines: [Int] = []
    /// Lines whose quote is not closed.
    private(set) var brokenLines: [Int] = []

    init(_ contents: String) {
        let text = contents.hasPrefix("\u{FEFF}") ? contents.dropFirst() : Substring(contents)
        // "\r\n" is one Character, which `isNewline` covers.
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            read(line.trimmed, number: index + 1)
        }
    }

    private mutating func read(_ line: String, number: Int) {
        guard !line.isEmpty, !line.hasPrefix("#") else { return }
        let start = line.hasPrefix("export ") ? line.dropFirst(7) : Substring(line)
        guard let equals = start.firstIndex(of: "=") else { return strayLines.append(number) }
        let name = start[..<equals].trimmed
        guard !name.isEmpty, !name.contains(where: \.isWhitespace) else { return strayLines.append(number) }
        guard let value = Self.value(start[start.index(after: equals)...].trimmed) else { return brokenLines.append(number) }
        values[name] = value
    }

    private static func value(_ text: String) -> String? {
        switch text.first {
        case "'": quoted(text.dropFirst(), by: "'", escapes: [:])
        case "\"": quoted(text.dropFirst(), by: "\"", escapes: ["n": "\n", "t": "\t", "\"": "\"", "\\": "\\", "$": "$"])
        default: unquoted(text)
        }
    }

    private static func unquoted(_ text: String) -> String {
        var previousIsSpace = true
        for index in text.indices {
            if text[index] == "#", previousIsSpace { return text[..<index].trimmed }
            previousIsSpace = text[index].isWhitespace
        }
        return text
    }

    /// What stands before the closing quote; what stands after it is a comment.
    private static func quoted(_ text: Substring, by quote: Character, escapes: [Character: Character]) -> String? {
        var value = ""
        var rest = text
        while let character = rest.popFirst() {
            if character == quote { return value }
            if character == "\\", let next = rest.first, let meant = escapes[next] {
                value.append(meant)
                rest.removeFirst()
            } else {
                value.append(character)
            }
        }
        return nil
    }
}
