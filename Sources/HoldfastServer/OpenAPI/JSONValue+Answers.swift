import Holdfast
import HoldfastStore

// How the routes build JSON.

extension JSONValue {
    init(_ number: some BinaryInteger) { self = .integer(Int64(clamping: number)) }
    /// JSON has no infinities and no NaN: those become `null`.
    init(_ number: Double) { self = number.isFinite ? .double(number) : .null }
    init(_ text: some StringProtocol) { self = .string(String(text)) }
    init(_ flag: Bool) { self = .bool(flag) }
    init(_ moment: Timestamp) { self = .string(moment.rfc3339) }

    /// An object; a member whose value is nil is left out.
    static func object(_ members: [(String, JSONValue?)]) -> JSONValue {
        var object: [String: JSONValue] = [:]
        for case (let name, let value?) in members { object[name] = value }
        return .object(object)
    }

    /// The text as it is sent. Routes put no infinities into answers, so there always is one; were there none, `null` is still JSON.
    var answerBytes: Bytes { encoded() ?? "null" }
}
