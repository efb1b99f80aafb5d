extension Reply {
    /// About how many bytes it takes, here or on the wire: those of its texts, and a few for each of its parts.
    package var size: Int {
        switch self {
        case .null, .integer, .double, .boolean: Self.partBytes
        case .status(let text), .bytes(let text): Self.partBytes + text.count
        case .error(let error): Self.partBytes + error.line.utf8.count
        case .array(let elements), .map(let elements), .set(let elements): elements.reduce(Self.partBytes) { $0 + $1.size }
        }
    }

    private static let partBytes = 16
}
