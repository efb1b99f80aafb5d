import Foundation

private func hidden(_ text: String) -> String { text.isEmpty ? text : Secret.redacted }

extension SettingKind where Value == Secret {
    static let secret = SettingKind(
        accepted: "a text", parse: { Secret($0) }, format: \.value, redact: hidden, isSecret: true)
}

extension SettingKind where Value == [EncryptionKey] {
    /// A key that does not decode is an error and is never replaced by another.
    static let keyRing = SettingKind(
        accepted: "64 hexadecimal digits or base64 of 32 bytes; several keys separated by commas, the current one first",
        parse: { text in
            let keys = text.split(separator: ",", omittingEmptySubsequences: false).map { EncryptionKey($0.trimmed) }
            return keys.contains(nil) ? nil : keys.compactMap(\.self)
        },
        format: { keys in keys.map { Data($0.bytes).base64EncodedString() }.joined(separator: ",") },
        redact: hidden,
        isSecret: true
    )
}

extension EncryptionKey {
    static let byteCount = 32

    /// Reads 64 hexadecimal digits, or base64 (also its URL form, also without padding) of 32 bytes.
    public init?(_ text: String) {
        guard let bytes = Self.decodeHex(text) ?? Self.decodeBase64(text), bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    private static func decodeHex(_ text: String) -> [UInt8]? {
        let digits = text.utf8.compactMap(PercentText.hexValue)
        guard text.utf8.count == 2 * byteCount, digits.count == text.utf8.count else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private static func decodeBase64(_ text: String) -> [UInt8]? {
        var plain = text.replacing("-", with: "+").replacing("_", with: "/")
        while plain.utf8.count % 4 != 0, plain.utf8.count < text.utf8.count + 2 { plain += "=" }
        return Data(base64Encoded: plain).map(Array.init)
    }
}

extension SettingKind where Value == [Secret] {
    static let apiKeys = SettingKind(
        accepted: "keys separated by commas, each as secret, role:secret, role@tenant:secret or name:role:secret, "
            + "with role admin, operator or reader",
        parse: { text in
            let entries = text.split(separator: ",", omittingEmptySubsequences: false).map(\.trimmed)
            return (try? APIKeyRing(parsing: entries)) == nil ? nil : entries.map { Secret($0) }
        },
        format: { keys in keys.map(\.value).joined(separator: ",") },
        redact: hidden,
        isSecret: true
    )
}
