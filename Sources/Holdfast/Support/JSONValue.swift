/// Any JSON value, for what callers store without a Swift type of their own.
///
/// A number comes back as it was written: an integer of 64 bits and what a double writes the same way are those, and any other keeps its
/// text (``JSONNumber``). `1`, `1.0` and `1e0` are therefore different values, as they are different texts. Objects have no order;
/// their text has their keys sorted by bytes (see ``encoded()``).
public enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case double(Double)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])
}

/// A number whose text no `Int64` and no `Double` would write again: `18446744073709551616`, `0.1000`, `1e5`.
///
/// ``JSONValue/init(json:)`` makes them. ``JSONValue/integer`` and ``JSONValue/double`` read them, rounded as `Double` rounds.
public struct JSONNumber: Hashable, Sendable {
    /// As it was written; a number by JSON's grammar, and finite as a `Double`.
    public let text: String

    init(text: String) { self.text = text }

    var double: Double? { Double(text) }
}

// MARK: - Looking inside

extension JSONValue {
    public var isNull: Bool { self == .null }

    public var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The integer, or the number where it is whole and fits.
    public var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .double(let value): Int64(exactly: value)
        case .number(let value): value.double.flatMap { Int64(exactly: $0) }
        default: nil
        }
    }

    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .double(let value): value
        case .number(let value): value.double
        default: nil
        }
    }

    public var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    public var array: [JSONValue]? {
        if case .array(let value) = self { value } else { nil }
    }

    public var object: [String: JSONValue]? {
        if case .object(let value) = self { value } else { nil }
    }

    /// A member of an object; nil where this is no object or has no such member.
    public subscript(name: String) -> JSONValue? { object?[name] }
}

// MARK: - Literals

// There is no nil literal for null: `value ?? nil` and `flag ? value : nil` would then silently mean null where absence is meant.
extension JSONValue: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// Of several members with one name the last counts.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements) { _, last in last })
    }
}

// MARK: - Codable

/// Coders have no numbers of their own text: what fits neither 64 bits nor a `Double` is rounded to one. ``encoded()`` and
/// ``init(json:)`` lose nothing.
extension JSONValue: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(UInt64.self) {
            self = .number(JSONNumber(text: value.description))
        } else if let value = try? container.decode(Double.self) {
            self = .double(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .double(let value): try container.encode(value)
        case .number(let value):
            if let integer = UInt64(value.text) {
                try container.encode(integer)
            } else {
                try container.encode(value.double)
            }
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}
