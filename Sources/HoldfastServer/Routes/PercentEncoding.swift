/// Percent-encoding in URLs (RFC 3986).
enum PercentEncoding {
    /// The text, or nil where the encoding is broken or what it stands for is no UTF-8.
    ///
    /// - Parameter plusIsSpace: for query strings, as forms write them.
    static func decode(_ encoded: some StringProtocol, plusIsSpace: Bool = false) -> String? {
        guard encoded.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return String(encoded) }
        return bytes(encoded, plusIsSpace: plusIsSpace).flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// The bytes, which need not be text; nil where the encoding is broken.
    static func bytes(_ encoded: some StringProtocol, plusIsSpace: Bool = false) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encoded.utf8.count)
        var rest = encoded.utf8.makeIterator()
        while let byte = rest.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The members of a query string in order.
    /// - Returns: nil where the encoding is broken.
    static func query(_ query: some StringProtocol) -> [(name: String, value: String)]? {
        members(query) { decode($0, plusIsSpace: true) }
    }

    /// The members of a query string in order, names and values read as the caller wishes; nil where one of them cannot be.
    static func members<Text>(
        _ query: some StringProtocol, _ read: (Substring) -> Text?
    ) -> [(name: Text, value: Text)]? {
        var members: [(name: Text, value: Text)] = []
        for part in query.split(separator: "&").map({ Substring($0) }) {
            let mark = part.firstIndex(of: "=") ?? part.endIndex
            guard let name = read(part[..<mark]), let value = read(part[mark...].dropFirst()) else { return nil }
            members.append((name, value))
        }
        return members
    }
}
