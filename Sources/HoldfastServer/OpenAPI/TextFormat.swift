import Holdfast
import HoldfastStore

/// The forms of text that parameters and members may have: each is published as a `format` or `pattern` and checked by the same value.
enum TextFormat: String, Sendable, Hashable {
    /// RFC 3339.
    case dateTime = "date-time"
    case uri
    /// Letters, digits, `.`, `_`, `-`, `~`.
    case word
    /// Visible ASCII.
    case visible
    /// A span of time, at least a millisecond: `5`, `2.5s`, `500ms`, `1m`.
    case span
    /// A session's id: 36 characters in the form of a UUID, of whatever version, and 9 more where it was made while the server was away.
    case identifier

    var json: (name: String, value: JSONValue) {
        switch self {
        case .dateTime, .uri: ("format", .string(rawValue))
        case .word: ("pattern", "^[A-Za-z0-9._~-]+$")
        case .visible: ("pattern", "^[!-~]+$")
        case .span: ("pattern", "^(?=.*[1-9])[0-9]{1,6}(ms|([.][0-9]{1,3})?(s|m)?)$")
        case .identifier: ("pattern", "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(-[0-9a-fA-F]{8})?$")
        }
    }

    var hint: String {
        switch self {
        case .dateTime: "It must be a moment by RFC 3339, such as 2026-01-31T12:00:00Z"
        case .uri: "It must be a URI"
        case .word: "It must be of letters, digits, '.', '_', '-' and '~'"
        case .visible: "It must be of visible ASCII characters"
        case .identifier: "It must have 36 characters, as a UUID, or 45"
        case .span: "It must be a span of time, such as 5, 2.5s, 500ms or 1m"
        }
    }

    func accepts(_ text: String) -> Bool {
        switch self {
        case .dateTime: Timestamp(rfc3339: text) != nil
        case .uri: true
        case .word: !text.isEmpty && text.utf8.allSatisfy(Self.isWordByte)
        case .visible: !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        case .span: Duration(span: text) != nil
        case .identifier: (try? SessionID(text)) != nil
        }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

/// What the name of a tenant may be over HTTP.
enum TenantName {
    static let maximumLength = 64
    static let schema = Schema.string(1...maximumLength, format: .word)
}

extension Duration {
    /// Reads a span of time of a millisecond or more: up to six digits and `ms`; or up to three more behind a point, and `s` (also
    /// without) or `m`.
    init?(span text: String) {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), (1...6).contains(parts[0].count), let whole = Int64(parts[0]) else { return nil }
        var thousandths: Int64 = 0
        if parts.count == 2 {
            guard (1...3).contains(parts[1].count), let fraction = Int64(parts[1]) else { return nil }
            thousandths = fraction * [100, 10, 1][parts[1].count - 1]
        }
        let unit: Int64
        switch text.dropFirst(digits.count) {
        case "", "s": unit = 1000
        case "ms" where parts.count == 1: unit = 1
        case "m": unit = 60_000
        default: return nil
        }
        guard whole + thousandths > 0 else { return nil }
        self = .milliseconds(whole * unit + thousandths * unit / 1000)
    }
}
