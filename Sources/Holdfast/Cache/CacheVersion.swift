public import HoldfastStore

/// Which of an entry's values one is: every write gives another one. An `ETag`.
///
/// It is the entry's stamp: the milliseconds at which it was written and 20 random bits, so that two writes of one millisecond differ.
public struct CacheVersion: Hashable, Sendable, CustomStringConvertible {
    let stamp: Int64

    init(stamp: Int64) { self.stamp = stamp }

    /// A fresh one.
    init(at moment: Timestamp, random: UInt64) { stamp = moment.milliseconds << 20 | Int64(random & 0xF_FFFF) }

    /// Reads what ``description`` wrote; nil for anything else.
    public init?(_ text: String) {
        guard text.utf8.count <= 16, let word = UInt64(text, radix: 16), String(word, radix: 16) == text else { return nil }
        stamp = Int64(bitPattern: word)
    }

    /// Up to 16 hexadecimal digits.
    public var description: String { String(UInt64(bitPattern: stamp), radix: 16) }

    var moment: Timestamp { Timestamp(milliseconds: stamp >> 20) }

    /// As it stands in an envelope's header.
    var bytes: Bytes { Bytes(withUnsafeBytes(of: stamp.bigEndian) { Array($0) }) }
}

/// What must hold of an entry for a write or a deletion to be made.
public enum CacheCondition: Hashable, Sendable {
    /// There is no fresh value.
    case absent
    /// There is a fresh value.
    case present
    /// The value is still this one.
    case version(CacheVersion)
}

/// A value with its version.
public struct Versioned<Value: Sendable>: Sendable {
    public let value: Value
    public let version: CacheVersion
}

extension Versioned: Equatable where Value: Equatable {}

/// What a write did.
public struct CacheWrite: Hashable, Sendable {
    /// Who keeps it, or removed what was there.
    public let by: Decider
    /// The value's version; nil where the TTL was zero, which keeps nothing.
    public let version: CacheVersion?

    public var isKept: Bool { version != nil }
}
