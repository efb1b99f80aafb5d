extension Envelope {
    private static let magic: UInt8 = 0xF5

    private enum Flag {
        static let isNil: UInt8 = 1
        static let compressed: UInt8 = 2
        static let encrypted: UInt8 = 4
        static let tagged: UInt8 = 8
        static let known: UInt8 = 15
    }

    /// The value as it is stored.
    ///
    /// - Throws: ``ErrorCode/tooLarge`` naming `tags`, `typeName` or `keyID`.
    public func encoded() throws(StoreError) -> Bytes {
        guard tags.count <= Self.maximumTags else { throw Self.tooLarge("tags", "more than \(Self.maximumTags) tags") }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(40 + typeName.utf8.count + payload.count)
        bytes += [Self.magic, Self.version, flags, codec.rawValue]
        Self.append(UInt64(bitPattern: stamp), to: &bytes)
        Self.append(UInt64(bitPattern: expiry?.milliseconds ?? 0), to: &bytes)
        Self.append(UInt32(clamping: grace.milliseconds), to: &bytes)
        try Self.append(name: typeName, field: "typeName", to: &bytes)
        if !tags.isEmpty {
            Self.append(varint: UInt64(tags.count), to: &bytes)
            for tag in tags { try Self.append(name: tag, field: "tags", to: &bytes) }
        }
        if let keyID { try Self.append(name: keyID, field: "keyID", to: &bytes) }
        if let plainSize { Self.append(varint: UInt64(max(0, plainSize)), to: &bytes) }
        bytes.append(contentsOf: payload)
        return Bytes(bytes)
    }

    /// The grace, from the first ``fixedHeaderSize`` bytes of a stored value; nil where they are not the beginning of one.
    public static func grace(inHeader header: Bytes) -> Duration? { word(of: header, at: 20, size: 4).map { .milliseconds($0) } }

    /// The stamp, from the same bytes.
    public static func stamp(inHeader header: Bytes) -> Int64? {
        word(of: header, at: 4, size: 8).map { Int64(bitPattern: $0) }
    }

    private static func word(of header: Bytes, at place: Int, size: Int) -> UInt64? {
        guard header.count >= fixedHeaderSize, header.first == magic, header.dropFirst().first == version else { return nil }
        return header.dropFirst(place).prefix(size).reduce(0) { $0 << 8 | UInt64($1) }
    }

    private var flags: UInt8 {
        (isNil ? Flag.isNil : 0) | (plainSize != nil ? Flag.compressed : 0) | (keyID != nil ? Flag.encrypted : 0)
            | (tags.isEmpty ? 0 : Flag.tagged)
    }

    /// Reads a stored value.
    ///
    /// - Throws: ``ErrorCode/unsupportedFormat`` where a newer version wrote it; ``ErrorCode/decodingFailed`` where the bytes are no
    ///   envelope, or not a whole one. Never traps, whatever the bytes are.
    public init(decoding bytes: Bytes) throws(StoreError) {
        var reader = EnvelopeReader(bytes)
        guard try reader.byte() == Self.magic else { throw EnvelopeReader.damaged("it does not begin as an envelope does") }
        guard try reader.byte() == Self.version else { throw StoreError(.unsupportedFormat) }
        let flags = try reader.byte()
        guard flags & ~Flag.known == 0 else { throw StoreError(.unsupportedFormat) }
        codec = Codec(rawValue: try reader.byte())
        stamp = Int64(bitPattern: try reader.word(8))
        let expiry = Int64(bitPattern: try reader.word(8))
        self.expiry = expiry == 0 ? nil : Timestamp(milliseconds: expiry)
        grace = .milliseconds(try reader.word(4))
        typeName = try reader.name()
        tags = []
        if flags & Flag.tagged != 0 {
            let count = try reader.integer()
            guard count <= Self.maximumTags else { throw EnvelopeReader.damaged("too many tags") }
            for _ in 0..<count { tags.append(try reader.name()) }
        }
        keyID = flags & Flag.encrypted == 0 ? nil : try reader.name()
        plainSize = flags & Flag.compressed == 0 ? nil : Int(try reader.integer())
        isNil = flags & Flag.isNil != 0
        payload = reader.rest
    }

    private static func append<Word: FixedWidthInteger>(_ word: Word, to bytes: inout [UInt8]) {
        for shift in stride(from: Word.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: word >> shift))
        }
    }

    /// LEB128: seven bits a byte, the lowest first, the top bit set while more follow.
    private static func append(varint value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    private static func append(name: String, field: String, to bytes: inout [UInt8]) throws(StoreError) {
        guard name.utf8.count <= maximumNameLength else { throw tooLarge(field, "longer than \(maximumNameLength) bytes") }
        append(varint: UInt64(name.utf8.count), to: &bytes)
        bytes.append(contentsOf: name.utf8)
    }

    private static func tooLarge(_ field: String, _ message: String) -> StoreError {
        StoreError(.tooLarge, message, field: field)
    }
}

/// Reads an envelope's parts, each checked against what is left.
private struct EnvelopeReader {
    private(set) var rest: Bytes

    init(_ bytes: Bytes) { rest = bytes }

    static func damaged(_ why: String) -> StoreError {
        StoreError(.decodingFailed, "The stored value is no envelope of Holdfast: \(why)")
    }

    mutating func take(_ count: Int) throws(StoreError) -> Bytes {
        guard count <= rest.count else { throw Self.damaged("it ends too early") }
        let middle = rest.startIndex + count
        defer { rest = rest[middle..<rest.endIndex] }
        return rest[rest.startIndex..<middle]
    }

    mutating func byte() throws(StoreError) -> UInt8 {
        let one = try take(1)
        return one[one.startIndex]
    }

    mutating func word(_ count: Int) throws(StoreError) -> UInt64 { try take(count).reduce(0) { $0 << 8 | UInt64($1) } }

    /// A varint of at most 63 bits.
    mutating func integer() throws(StoreError) -> Int64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 63, by: 7) {
            let next = try byte()
            value |= UInt64(next & 0x7F) << shift
            if next & 0x80 == 0 { return Int64(value) }
        }
        throw Self.damaged("a number is too long")
    }

    mutating func name() throws(StoreError) -> String {
        let count = try integer()
        guard count <= Int64(Envelope.maximumNameLength) else { throw Self.damaged("a name is too long") }
        guard let name = try take(Int(count)).string else { throw Self.damaged("a name is no text") }
        return name
    }
}
