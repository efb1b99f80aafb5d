public import HoldfastStore

/// The name of a session: 128 random bits in the 36 characters of a UUID, lower case.
///
/// All 128 bits are random; no version or variant bits are set, so it is written like a UUID but is none of a numbered version.
/// Whoever has the id has the session: it is printed masked (`description`), and written out only where asked for (``text``).
///
/// An id that was made while the server was away has 9 more characters, a hyphen and the second in which it was made, by the server's clock
/// as far as that was known: so that other processes, which do not find it on the server yet, can tell that from an id of a session that
/// has ended.
public struct SessionID: Hashable, Sendable {
    /// The 36 characters, or 45. A secret: for cookies and keys, not for logs.
    public let text: String

    /// Reads an id; upper-case digits are accepted.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/invalidArgument`` naming `id` where the text is not of that form. Nothing can be stored
    ///   under such an id, so "there is no such session" is as true an answer.
    public init(_ text: String) throws(StoreError) {
        guard Self.isWellFormed(text) else { throw .invalid("id", "A session id has 36 characters, as a UUID") }
        self.text = text.lowercased()
    }

    /// When it was made, to the second, where that was while the server was away.
    public var madeAway: Timestamp? {
        guard text.utf8.count == Self.awayLength, let seconds = Int64(text.suffix(8), radix: 16) else { return nil }
        return Timestamp(milliseconds: seconds * 1000)
    }

    /// The same bits, as made while the server was away.
    func madeAway(at moment: Timestamp) -> SessionID {
        let seconds = String(UInt32(truncatingIfNeeded: moment.milliseconds / 1000), radix: 16)
        return SessionID(checked: text.prefix(36) + "-" + String(repeating: "0", count: 8 - seconds.count) + seconds)
    }

    private init(checked text: some StringProtocol) { self.text = String(text) }

    /// An id of 128 bits.
    public init(high: UInt64, low: UInt64) {
        var text = ""
        text.reserveCapacity(36)
        for place in 0..<32 {
            if Self.hyphensBefore.contains(place) { text.append("-") }
            let word = place < 16 ? high : low
            let digit = Int(word >> UInt64(60 - place % 16 * 4) & 15)
            text.unicodeScalars.append(Self.digits[digit])
        }
        self.text = text
    }

    /// A fresh id from the machine's source of secrets (`getrandom` on Linux).
    public static func random() -> SessionID {
        var random = SystemRandomNumberGenerator()
        return SessionID(high: random.next(), low: random.next())
    }

    /// The first four characters, for lists and logs: `ab12…`.
    public var masked: String { "\(text.prefix(4))…" }

    private static let awayLength = 45
    private static let digits = Array("0123456789abcdef".unicodeScalars)
    /// In front of which of the 32 digits a hyphen stands.
    private static let hyphensBefore: Set<Int> = [8, 12, 16, 20]

    private static func isWellFormed(_ text: String) -> Bool {
        guard text.utf8.count == 36 || text.utf8.count == awayLength else { return false }
        return text.utf8.enumerated().allSatisfy { place, byte in
            switch place {
            case 8, 13, 18, 23, 36: byte == UInt8(ascii: "-")
            default: (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
            }
        }
    }
}

extension SessionID: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Masked; see ``text``.
    public var description: String { masked }
    public var debugDescription: String { masked }
    /// Nothing inside, so that `dump` shows no more than a description.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
