#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A binary-safe, immutable run of bytes: what keys, values and messages are made of.
///
/// A slice shares the memory that it was cut from, so a reply can be handed out without copying what was read from the
/// socket. The price is that a small slice keeps its whole source alive: call ``compacted()`` before keeping one for long.
public struct Bytes: Sendable {
    @usableFromInline var storage: ArraySlice<UInt8>

    @inlinable public init(_ array: [UInt8]) { storage = array[...] }
    @inlinable public init(_ slice: ArraySlice<UInt8>) { storage = slice }
    @inlinable public init(_ string: String) { storage = Array(string.utf8)[...] }
    @inlinable public init() { storage = [] }

    /// The decimal digits of an integer, as Redis keeps counters.
    public init(_ integer: Int64) {
        var digits: [UInt8] = []
        digits.reserveCapacity(20)
        digits.append(decimal: integer)
        storage = digits[...]
    }

    /// Two small hexadecimal digits for each byte.
    package init(hex bytes: some Sequence<UInt8>) {
        let digits = Array("0123456789abcdef".utf8)
        storage = bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }[...]
    }

    /// The text, or nil where the bytes are no valid UTF-8.
    public var string: String? {
        storage.withUnsafeBytes { bytes in
            // Most are ASCII, which needs no validation.
            bytes.reduce(0, |) < 0x80 ? String(decoding: bytes, as: UTF8.self) : String(validating: bytes, as: UTF8.self)
        }
    }

    /// The text, with what is no valid UTF-8 replaced. For logs and listings.
    public var lossyString: String { storage.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }

    /// The integer, by Redis's strict rule: an optional minus sign and digits without leading zeros, in 64 bits.
    public var integer: Int64? { Decimal.parseInteger(storage) }

    /// The number, by Redis's rule for doubles ("inf", "-inf" and exponents allowed, no spaces, no "nan").
    public var double: Double? { Decimal.parseDouble(storage) }

    /// The same bytes in memory of their own, of just their size.
    public func compacted() -> Bytes { Bytes(Array(storage)) }

    @inlinable public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        var result: Result<R, E>?
        storage.withUnsafeBytes { buffer in
            do throws(E) { result = .success(try body(buffer)) } catch { result = .failure(error) }
        }
        guard let result else { preconditionFailure("withUnsafeBytes always calls its body") }
        return try result.get()
    }
}

extension [UInt8] {
    /// Faster than `append(contentsOf:)`, which takes other collections than the standard library's byte by byte.
    package mutating func append(bytes: Bytes) { append(contentsOf: bytes.storage) }
}

extension Bytes: RandomAccessCollection {
    @inlinable public var startIndex: Int { storage.startIndex }
    @inlinable public var endIndex: Int { storage.endIndex }
    @inlinable public var count: Int { storage.count }
    @inlinable public subscript(position: Int) -> UInt8 { storage[position] }
    @inlinable public subscript(bounds: Range<Int>) -> Bytes { Bytes(storage[bounds]) }
    @inlinable public func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
        try storage.withContiguousStorageIfAvailable(body)
    }
}

extension Bytes: Hashable {
    public static func == (left: Bytes, right: Bytes) -> Bool {
        left.count == right.count && left.compare(right) == 0
    }

    @inlinable public func hash(into hasher: inout Hasher) {
        storage.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension Bytes: Comparable {
    /// Byte order, the order of `memcmp`, as sorted sets keep members of one score.
    public static func < (left: Bytes, right: Bytes) -> Bool {
        let order = left.compare(right)
        return order == 0 ? left.count < right.count : order < 0
    }

    /// `memcmp` over the length of the shorter one.
    fileprivate func compare(_ other: Bytes) -> Int32 {
        storage.withUnsafeBytes { a in
            other.storage.withUnsafeBytes { b in
                guard let left = a.baseAddress, let right = b.baseAddress else { return 0 }
                return memcmp(left, right, Swift.min(a.count, b.count))
            }
        }
    }
}

extension Bytes: ExpressibleByStringLiteral, CustomStringConvertible {
    @inlinable public init(stringLiteral value: String) { self.init(value) }
    public var description: String { lossyString }
}
