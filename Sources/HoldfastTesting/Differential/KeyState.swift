import HoldfastStore

/// All that can be seen of an entry: what two stores must agree on after every step.
struct KeyState: Hashable {
    let type: String
    /// Milliseconds since 1970; -1 for never.
    let expiry: Int64
    /// In order for lists and sorted sets (with scores); sorted for sets and hashes (with values).
    let content: [Bytes]

    var shown: String {
        "\(type) until \(expiry < 0 ? "ever" : String(expiry)): [\(content.map(Step.quoted).joined(separator: ", "))]"
    }

    /// Reads the entries of some keys; those that are not there are left out.
    ///
    /// - Parameter end: entries whose time has come by then are removed from the store first. That is how a server follows a
    ///   program's clock, which runs years ahead of its own.
    static func read(_ keys: [Key], from store: any Store, removingEndedBy end: Timestamp) async throws -> [Key: KeyState] {
        guard !keys.isEmpty else { return [:] }
        let heads = try await store.execute(
            Batch(.pipeline, keys.flatMap { [.keys(.type($0)), .keys(.pexpiretime($0))] }))
        var operations: [Operation] = []
        var found: [(key: Key, type: String, expiry: Int64)] = []
        var ended: [Key] = []
        for (index, key) in keys.enumerated() {
            let (type, expiry) = (heads[index * 2].bytes?.lossyString ?? "?", heads[index * 2 + 1].integer ?? -2)
            if type == "none" { continue }
            if expiry >= 0, expiry <= end.milliseconds {
                ended.append(key)
            } else {
                found.append((key, type, expiry))
                operations.append(.raw(reading(type, key)))
            }
        }
        if !ended.isEmpty { operations.append(.keys(.del(ended))) }
        guard !operations.isEmpty else { return [:] }
        let values = try await store.execute(Batch(.pipeline, operations))
        var states: [Key: KeyState] = [:]
        for (entry, value) in zip(found, values) {
            states[entry.key] = KeyState(type: entry.type, expiry: entry.expiry, content: content(value, entry.type))
        }
        return states
    }

    private static func reading(_ type: String, _ key: Key) -> [Bytes] {
        switch type {
        case "string": ["GET", key.bytes]
        case "hash": ["HGETALL", key.bytes]
        case "list": ["LRANGE", key.bytes, "0", "-1"]
        case "set": ["SMEMBERS", key.bytes]
        default: ["ZRANGE", key.bytes, "0", "-1", "WITHSCORES"]
        }
    }

    private static func content(_ value: Reply, _ type: String) -> [Bytes] {
        if case .error(let error) = value { return [Bytes(error.line)] }
        let leaves = ReplyForm.leaves(value)
        switch type {
        case "set": return leaves.sorted()
        case "hash":
            return stride(from: 0, to: leaves.count - 1, by: 2).map { (leaves[$0], leaves[$0 + 1]) }
                .sorted { $0.0 < $1.0 }.flatMap { [$0.0, $0.1] }
        case "zset":
            return leaves.enumerated().map { index, leaf in
                index.isMultiple(of: 2) ? leaf : leaf.double.flatMap { Reply.double($0).bytes } ?? leaf
            }
        default: return leaves
        }
    }

    /// The commands that make this entry, for a key that does not exist.
    func restoring(_ key: Key) -> [Operation] {
        let make: [Bytes]
        switch type {
        case "string": make = ["SET", key.bytes] + content
        case "hash": make = ["HSET", key.bytes] + content
        case "list": make = ["RPUSH", key.bytes] + content
        case "set": make = ["SADD", key.bytes] + content
        default:
            let pairs = stride(from: 0, to: content.count - 1, by: 2).flatMap { [content[$0 + 1], content[$0]] }
            make = ["ZADD", key.bytes] + pairs
        }
        let end = Timestamp(milliseconds: expiry)
        return [.raw(make)] + (expiry >= 0 ? [.keys(.pexpireat(key, end, nil))] : [])
    }
}
