/// What services store as values: a payload with a short header that says what it is.
///
/// The header lets a program of another version, another service or a person with `redis-cli` tell what a value is: its format
/// version, how the payload is encoded, the type it was written from, when, until when it is fresh, and by which tags it is
/// found. All numbers are big-endian.
///
/// ```
/// offset 0   0xF5, which no UTF-8 text contains
///        1   format version, 1
///        2   flags: 1 nil, 2 compressed, 4 encrypted, 8 tags
///        3   codec
///        4   stamp, 8 bytes
///       12   expiry, milliseconds, 8 bytes; 0 for none
///       20   grace, milliseconds, 4 bytes
///       24   type name        varint length, UTF-8
///            tags             varint count, each as above     where flag 8 is set
///            key id           varint length, UTF-8            where flag 4 is set
///            plain size       varint                          where flag 2 is set
///            payload          the rest
/// ```
public struct Envelope: Hashable, Sendable {
    /// How the payload is encoded. Open: a later version may add codecs.
    public struct Codec: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Bytes as they were given.
        public static let bytes = Codec(rawValue: 0)
        /// JSON (RFC 8259), fragments allowed.
        public static let json = Codec(rawValue: 1)
    }

    public var codec: Codec
    /// The type that the payload was written from, as the service names it. At most ``maximumNameLength`` bytes.
    public var typeName: String
    /// Orders writes and tells them apart, by a rule of the service; the cache's is the milliseconds of the write and 20 random bits.
    public var stamp: Int64
    /// When the value stops being fresh, by the writer's clock; nil for never.
    public var expiry: Timestamp?
    /// How long after ``expiry`` the value is still kept for emergencies: whole milliseconds, at most ``longestGrace``.
    public var grace: Duration
    /// At most ``maximumTags``, each at most ``maximumNameLength`` bytes.
    public var tags: [String]
    /// The value is "nothing", which is something else than an absent entry.
    public var isNil: Bool
    /// The payload's size before compression; nil where it is not compressed.
    public var plainSize: Int?
    /// The key that the payload is encrypted with; nil where it is not.
    public var keyID: String?
    public var payload: Bytes

    public static let version: UInt8 = 1
    public static let maximumNameLength = 255
    public static let maximumTags = 64
    /// What four bytes of milliseconds hold: 49 days.
    public static let longestGrace: Duration = .milliseconds(Int64(UInt32.max))
    /// The part of the header that always stands at the same place: enough for ``grace(inHeader:)`` and ``stamp(inHeader:)``.
    public static let fixedHeaderSize = 24

    public init(
        codec: Codec, typeName: String = "", stamp: Int64 = 0, expiry: Timestamp? = nil, grace: Duration = .zero,
        tags: [String] = [], isNil: Bool = false, plainSize: Int? = nil, keyID: String? = nil, payload: Bytes
    ) {
        self.codec = codec
        self.typeName = typeName
        self.stamp = stamp
        self.expiry = expiry
        self.grace = grace
        self.tags = tags
        self.isNil = isNil
        self.plainSize = plainSize
        self.keyID = keyID
        self.payload = payload
    }
}
