/// Glob patterns exactly as Redis matches them (`stringmatchlen`): `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, `\x`.
public struct Glob: Sendable {
    let pattern: [UInt8]

    public init(_ pattern: some Collection<UInt8>) { self.pattern = Array(pattern) }

    /// The pattern of a scan; nil for "*", which Redis does not look at.
    init?(scan pattern: Bytes?) {
        guard let pattern, pattern != "*" else { return nil }
        self.init(pattern)
    }

    /// The pattern that matches these bytes and nothing else.
    public static func escape(_ literal: some Collection<UInt8>) -> [UInt8] {
        var escaped: [UInt8] = []
        escaped.reserveCapacity(literal.count + 1)
        for byte in literal {
            if special.contains(byte) { escaped.append(UInt8(ascii: "\\")) }
            escaped.append(byte)
        }
        return escaped
    }

    private static let special = Array("*?[]^\\-".utf8)

    /// Whether the whole text matches.
    ///
    /// Cost: linear for patterns with one star; a later star makes the earlier ones irrelevant, so never exponential.
    public func matches(_ text: some RandomAccessCollection<UInt8>) -> Bool {
        // A quirk of Redis's: an empty text matches the empty pattern only, not even "*". (Its scans take "*" as no pattern at all.)
        if text.isEmpty { return pattern.isEmpty }
        return pattern.withUnsafeBufferPointer { pattern in
            text.withContiguousStorageIfAvailable { Self.match(pattern, $0) }
                ?? Array(text).withUnsafeBufferPointer { Self.match(pattern, $0) }
        }
    }

    private static func match(_ pattern: UnsafeBufferPointer<UInt8>, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var p = 0
        var t = 0
        var retry: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                retry = (p + 1, t)
                p += 1
            } else if p < pattern.count, let next = matchOne(pattern, p, text[t]) {
                p = next
                t += 1
            } else if let star = retry {
                retry = (star.pattern, star.text + 1)
                p = star.pattern
                t = star.text + 1
            } else {
                return false
            }
        }
        while p < pattern.count, pattern[p] == UInt8(ascii: "*") { p += 1 }
        return p == pattern.count
    }

    /// The index behind the pattern element at `p` where it matches the byte, else nil.
    private static func matchOne(_ pattern: UnsafeBufferPointer<UInt8>, _ p: Int, _ byte: UInt8) -> Int? {
        switch pattern[p] {
        case UInt8(ascii: "?"):
            return p + 1
        case UInt8(ascii: "["):
            return matchClass(pattern, p, byte)
        case UInt8(ascii: "\\") where p + 1 < pattern.count:
            return pattern[p + 1] == byte ? p + 2 : nil
        default:
            return pattern[p] == byte ? p + 1 : nil
        }
    }

    /// A class, with Redis's leniencies: an unclosed one ends with the pattern, a reversed range is turned round.
    private static func matchClass(_ pattern: UnsafeBufferPointer<UInt8>, _ start: Int, _ byte: UInt8) -> Int? {
        var p = start + 1
        let negated = p < pattern.count && pattern[p] == UInt8(ascii: "^")
        if negated { p += 1 }
        var found = false
        while p < pattern.count, pattern[p] != UInt8(ascii: "]") {
            if pattern[p] == UInt8(ascii: "\\"), p + 1 < pattern.count {
                p += 1
                if pattern[p] == byte { found = true }
                p += 1
            } else if p + 2 < pattern.count, pattern[p + 1] == UInt8(ascii: "-") {
                let bounds = (pattern[p], pattern[p + 2])
                if (min(bounds.0, bounds.1)...max(bounds.0, bounds.1)).contains(byte) { found = true }
                p += 3
            } else {
                if pattern[p] == byte { found = true }
                p += 1
            }
        }
        guard found != negated else { return nil }
        return min(p + 1, pattern.count)
    }
}
