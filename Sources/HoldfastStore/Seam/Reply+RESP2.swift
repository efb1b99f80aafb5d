// What RESP2 has no word for, in the shapes that Redis gives it there.

extension Reply {
    /// This answer to a command as a server gives it to a client that speaks RESP2: only nulls, integers, strings, statuses, errors
    /// and arrays.
    ///
    /// Maps become lists of keys and values by turns, doubles and verbatim text strings, booleans 1 or 0; pairs of members with
    /// scores or values, which RESP3 nests, are one flat list. Every reply of Redis 7 to the same command has this form.
    ///
    /// - Parameter command: the command's name, in capitals.
    package func inRESP2(of command: String) -> Reply {
        if Self.streamReaders.contains(command), case .map(let elements) = self {
            // The one map that RESP2 has as a list of pairs.
            return .array(
                stride(from: 0, to: elements.count - 1, by: 2).map { index in
                    .array([elements[index].plain, elements[index + 1].plain])
                })
        }
        if Self.pairLists.contains(command), let elements, elements.contains(where: { $0.elements != nil }) {
            return .array(elements.flatMap { $0.elements ?? [$0] }.map(\.plain))
        }
        return plain
    }

    private static let streamReaders: Set<String> = ["XREAD", "XREADGROUP"]

    private static let pairLists: Set<String> = [
        "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZUNION", "ZINTER", "ZDIFF", "ZRANDMEMBER", "ZPOPMIN",
        "ZPOPMAX",
        "HRANDFIELD",
    ]

    private var plain: Reply {
        switch self {
        case .null, .status, .integer, .bytes, .error: self
        case .double: .bytes(bytes ?? Bytes())
        case .boolean(let flag): .integer(flag ? 1 : 0)
        case .array(let elements), .map(let elements), .set(let elements): .array(elements.map(\.plain))
        }
    }
}
