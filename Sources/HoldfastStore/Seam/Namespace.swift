/// The name of an entry in a store. Keys are made by a ``Namespace``, which puts prefix and tenant before them.
public struct Key: Hashable, Sendable {
    public let bytes: Bytes

    /// A key exactly as given, without prefix or tenant. For low-level access, journals and tests; services use
    /// ``Namespace/key(_:)``.
    @inlinable public init(raw bytes: Bytes) { self.bytes = bytes }

    /// A key that belongs to this one and lives in the same cluster slot: `{<this key>}:suffix`.
    public func companion(_ suffix: StaticString) -> Key {
        var name: [UInt8] = []
        name.reserveCapacity(bytes.count + suffix.utf8CodeUnitCount + 3)
        name.append(UInt8(ascii: "{"))
        name.append(bytes: bytes)
        name.append(contentsOf: "}:".utf8)
        suffix.withUTF8Buffer { name.append(contentsOf: $0) }
        return Key(raw: Bytes(name))
    }
}

extension Key: CustomStringConvertible {
    public var description: String { bytes.lossyString }
}

/// The part of a store's key space that belongs to one prefix and one tenant.
///
/// Every key of Holdfast is built here: `<prefix>`, then `t:<tenant>:` unless the tenant is the default one, then the pattern of
/// the reference systems (`session:{id}`, `cache:{workspace}:{key}`, …). Two namespaces that differ never name the same key,
/// because what is inserted is percent-encoded (see ``KeyPattern``).
public struct Namespace: Hashable, Sendable {
    public static let defaultPrefix = "holdfast:"

    /// What every key begins with, exactly as configured.
    public let prefix: String
    /// The tenant, or nil for the default one.
    public let tenant: String?
    /// `prefix` and tenant as they stand before every key.
    public let head: Bytes

    public init(prefix: String = Namespace.defaultPrefix, tenant: String? = nil) {
        self.prefix = prefix
        self.tenant = tenant
        var head = Array(prefix.utf8)
        if let tenant {
            head.append(contentsOf: "t:".utf8)
            KeyPattern.encode(tenant, into: &head)
            head.append(UInt8(ascii: ":"))
        }
        self.head = Bytes(head)
    }

    /// By the head alone, which tells nearly all apart.
    public func hash(into hasher: inout Hasher) { hasher.combine(head) }

    /// The same prefix, for one tenant.
    public func scoped(to tenant: String) -> Namespace { Namespace(prefix: prefix, tenant: tenant) }

    /// The key for a pattern, as in `namespace.key("session:\(id)")`.
    public func key(_ pattern: KeyPattern) -> Key {
        var name: [UInt8] = []
        name.reserveCapacity(head.count + pattern.bytes.count)
        name.append(bytes: head)
        name.append(contentsOf: pattern.bytes)
        return Key(raw: Bytes(name))
    }

    /// The channel for a pattern, under the same prefix and tenant as the keys.
    public func channel(_ pattern: KeyPattern) -> Channel { Channel(key(pattern).bytes) }

    /// A glob that matches the keys of this namespace that begin with `pattern`; glob characters in it are taken literally.
    public func glob(startingWith pattern: KeyPattern) -> Bytes {
        var glob = Glob.escape(key(pattern).bytes)
        glob.append(UInt8(ascii: "*"))
        return Bytes(glob)
    }

    /// What stands after this namespace's head in a key, or nil where the key is not of this namespace.
    ///
    /// The default tenant's namespace does not contain the other tenants' keys.
    public func suffix(of key: Bytes) -> Bytes? {
        guard key.starts(with: head) else { return nil }
        let rest = key[(key.startIndex + head.count)..<key.endIndex]
        return tenant == nil && rest.starts(with: "t:".utf8) ? nil : rest
    }
}

/// A key written as string interpolation: literal text stands as it is, inserted text is percent-encoded.
///
/// `{ } : %` and control characters inside inserted identifiers become `%7B %7D %3A %25 …`, so that no identifier can reach
/// outside its place: the session `a:b` and the cache entry `b` of a session `a` are different keys.
public struct KeyPattern: ExpressibleByStringInterpolation, Hashable, Sendable {
    public let bytes: [UInt8]

    public init(stringLiteral value: String) { bytes = Array(value.utf8) }
    public init(stringInterpolation: StringInterpolation) { bytes = stringInterpolation.bytes }

    public struct StringInterpolation: StringInterpolationProtocol {
        var bytes: [UInt8] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            bytes.reserveCapacity(literalCapacity + 36 * interpolationCount)
        }
        public mutating func appendLiteral(_ literal: String) {
            var literal = literal
            literal.withUTF8 { bytes.append(contentsOf: $0) }
        }
        @inlinable public mutating func appendInterpolation(_ identifier: some StringProtocol) { encode(String(identifier)) }
        public mutating func appendInterpolation(_ number: Int64) { bytes.append(decimal: number) }

        @usableFromInline mutating func encode(_ identifier: String) { KeyPattern.encode(identifier, into: &bytes) }
    }

    static func encode(_ identifier: String, into bytes: inout [UInt8]) {
        var identifier = identifier
        identifier.withUTF8 { text in
            // Most need none, and are copied as they are.
            guard text.contains(where: needsEncoding) else { return bytes.append(contentsOf: text) }
            for byte in text {
                if needsEncoding(byte) {
                    bytes.append(UInt8(ascii: "%"))
                    bytes.append(hexDigits[Int(byte >> 4)])
                    bytes.append(hexDigits[Int(byte & 15)])
                } else {
                    bytes.append(byte)
                }
            }
        }
    }

    /// An inserted identifier as it was before encoding, or nil where the bytes are no encoding of any text.
    public static func decode(_ encoded: some Collection<UInt8>) -> String? {
        var bytes: [UInt8] = []
        var rest = encoded.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next().flatMap(hexValue), let low = rest.next().flatMap(hexValue) else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static let hexDigits = Array("0123456789ABCDEF".utf8)

    private static func hexValue(_ digit: UInt8) -> UInt8? { hexDigits.firstIndex(of: digit).map(UInt8.init) }

    private static func needsEncoding(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: ":"), UInt8(ascii: "%"), 0..<0x20, 0x7F: true
        default: false
        }
    }
}
