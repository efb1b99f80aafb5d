public import HoldfastStore

/// One step of a program that is played on two stores.
public enum Step: Sendable {
    case command([Bytes])
    /// MULTI … EXEC.
    case transaction([[Bytes]])
    case procedure(Script, keys: [Key], arguments: [Bytes], isReplyUnordered: Bool)
    /// Time passes.
    case advance(Duration)

    /// The keys that the step names.
    var keys: [Key] {
        switch self {
        case .command(let arguments): CommandTable.shared.keys(in: arguments) ?? []
        case .transaction(let commands): commands.flatMap { CommandTable.shared.keys(in: $0) ?? [] }
        case .procedure(_, let keys, _, _): keys
        case .advance: []
        }
    }

    /// The step as lines for redis-cli, at a moment of the program.
    func lines(at now: Timestamp) -> [String] {
        switch self {
        case .command(let arguments): return [Self.line(arguments)]
        case .transaction(let commands): return ["MULTI"] + commands.map(Self.line) + ["EXEC"]
        case .procedure(let script, let keys, let arguments, _):
            let rest = [Bytes(Int64(keys.count))] + keys.map(\.bytes) + [Bytes(now.milliseconds)] + arguments
            return ["EVAL <\(script.identifier)> " + Self.line(rest)]
        case .advance(let span): return ["# \(span.milliseconds) ms pass; it is \((now + span).milliseconds) then"]
        }
    }

    static func line(_ arguments: [Bytes]) -> String { arguments.map(quoted).joined(separator: " ") }

    /// As redis-cli reads it: bare where it is a plain word, else in double quotes with escapes.
    static func quoted(_ bytes: Bytes) -> String {
        let isPlain =
            !bytes.isEmpty && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "'") }
        if isPlain { return bytes.lossyString }
        var text = "\""
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += "\\" + String(UnicodeScalar(byte))
            case 0x20..<0x7F: text += String(UnicodeScalar(byte))
            default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return text + "\""
    }
}
