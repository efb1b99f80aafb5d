import HoldfastStore

/// Base64 for URLs (RFC 4648 §5) without padding.
enum Base64URL {
    static func encode(_ bytes: some Collection<UInt8>) -> String { String(decoding: Base64.url.encode(bytes), as: UTF8.self) }

    /// The bytes, or nil where the text is no base64url or not the one text that these bytes have.
    static func decode(_ text: String) -> [UInt8]? { Base64.url.decode(text.utf8) }
}
