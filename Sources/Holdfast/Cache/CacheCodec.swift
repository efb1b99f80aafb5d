import HoldfastStore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Typed values in envelopes, as JSON.
///
/// The type's name (without its module, so that a program and its successor agree) is kept beside the value and compared when it
/// is read: the JSON `5` of an `Int` would otherwise be read as a `Double` or an `Int8` without a word. Names are compared without
/// `Optional`. ``JSONValue`` reads what any type wrote, and any type may read what a ``JSONValue`` wrote, where the JSON fits:
/// that is how other languages take part.
enum CacheCodec {
    static let anyType = "json"

    static func encode<Value: Encodable>(_ value: Value) throws(StoreError) -> Envelope {
        let name = typeName(of: Value.self)
        if isNil(value) { return Envelope(codec: .json, typeName: name, isNil: true, payload: Bytes()) }
        // Its own text, which keeps every number as it was written.
        if let json = value as? JSONValue {
            guard let text = json.encoded() else { throw .invalid("value", "An infinity or NaN cannot be stored") }
            return Envelope(codec: .json, typeName: name, payload: text)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        do {
            return Envelope(codec: .json, typeName: name, payload: Bytes(Array(try encoder.encode(value))))
        } catch {
            throw .invalid("value", "A \(name) could not be encoded as JSON")
        }
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from envelope: Envelope) throws(StoreError) -> Value {
        let name = typeName(of: type)
        guard envelope.keyID == nil, envelope.plainSize == nil else { throw StoreError(.unsupportedFormat) }
        guard envelope.codec == .json, [name, anyType].contains(envelope.typeName) || name == anyType else {
            throw mismatch(envelope, name)
        }
        if envelope.isNil {
            guard let none = nilValue(type) else { throw mismatch(envelope, name) }
            return none
        }
        if name == anyType {
            guard let value = JSONValue(json: envelope.payload).flatMap({ $0 as? Value }) else {
                throw mismatch(envelope, name)
            }
            return value
        }
        do {
            return try JSONDecoder().decode(type, from: Data(envelope.payload))
        } catch {
            throw mismatch(envelope, name)
        }
    }

    /// The payload of an entry that was written as bytes.
    static func bytes(from envelope: Envelope) throws(StoreError) -> Bytes {
        guard envelope.keyID == nil, envelope.plainSize == nil else { throw StoreError(.unsupportedFormat) }
        guard envelope.codec == .bytes else { throw mismatch(envelope, "bytes") }
        return envelope.payload
    }

    private static func mismatch(_ envelope: Envelope, _ wanted: String) -> StoreError {
        let stored = envelope.codec == .bytes ? "bytes" : (envelope.isNil ? "nil " : "") + envelope.typeName
        return StoreError(.decodingFailed, "The entry holds \(stored), which is no \(wanted)")
    }

    /// The name that is kept beside values of a type. Long ones are cut and told apart by a hash (FNV-1a).
    static func typeName(of type: Any.Type) -> String {
        if type == JSONValue.self { return anyType }
        if let optional = type as? any OptionalValue.Type { return typeName(of: optional.wrapped) }
        let name = String(describing: type)
        guard name.utf8.count > 200 else { return name }
        let hash = name.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return String(decoding: name.utf8.prefix(180), as: UTF8.self) + "#" + String(hash, radix: 16)
    }

    private static func isNil(_ value: some Encodable) -> Bool {
        if let json = value as? JSONValue { return json == .null }
        return (value as? any OptionalValue)?.isNone ?? false
    }

    private static func nilValue<Value>(_ type: Value.Type) -> Value? {
        if type == JSONValue.self { return JSONValue.null as? Value }
        guard let optional = type as? any OptionalValue.Type else { return nil }
        return optional.nothing as? Value
    }
}

/// What `Optional` tells about itself without its parameter.
private protocol OptionalValue {
    static var wrapped: Any.Type { get }
    static var nothing: Self { get }
    var isNone: Bool { get }
}

extension Optional: OptionalValue {
    fileprivate static var wrapped: Any.Type { Wrapped.self }
    fileprivate static var nothing: Self { .none }
    fileprivate var isNone: Bool { self == nil }
}
