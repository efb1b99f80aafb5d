/// Base64 (RFC 4648): the standard alphabet with padding, and the one for URLs without.
package struct Base64: Sendable {
    package static let standard = Base64("+/", isPadded: true)
    package static let url = Base64("-_", isPadded: false)

    private let alphabet: [UInt8]
    /// By character; 255 for what is no digit.
    private let values: [UInt8]
    private let isPadded: Bool

    private init(_ last: String, isPadded: Bool) {
        alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\(last)".utf8)
        var values = [UInt8](repeating: 255, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        self.values = values
        self.isPadded = isPadded
    }

    package func encode(_ bytes: some Collection<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity((bytes.count + 2) / 3 * 4)
        var buffer: UInt32 = 0
        var bits: UInt32 = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                output.append(alphabet[Int(buffer >> bits & 63)])
            }
            buffer &= 1 << bits - 1
        }
        if bits > 0 { output.append(alphabet[Int(buffer << (6 - bits) & 63)]) }
        while isPadded, !output.count.isMultiple(of: 4) { output.append(UInt8(ascii: "=")) }
        return output
    }

    /// The bytes, or nil where the text is no base64 or not the one text that these bytes have.
    package func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var digits = Array(text)
        if isPadded {
            guard digits.count.isMultiple(of: 4) else { return nil }
            for _ in 0..<2 where digits.last == UInt8(ascii: "=") { digits.removeLast() }
        }
        var output: [UInt8] = []
        output.reserveCapacity(digits.count * 3 / 4)
        var buffer: UInt32 = 0
        var bits: UInt32 = 0
        for digit in digits {
            let value = values[Int(digit)]
            guard value < 64 else { return nil }
            buffer = buffer << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                output.append(UInt8(truncatingIfNeeded: buffer >> bits))
                buffer &= 1 << bits - 1
            }
        }
        guard bits < 6, buffer == 0 else { return nil }
        return output
    }
}
