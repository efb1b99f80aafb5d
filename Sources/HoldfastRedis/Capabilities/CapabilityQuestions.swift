public import HoldfastStore

/// The questions by which a server tells what it can do, and how their answers are read. What it refuses to tell (an ACL user's
/// permissions) counts as not there, and is named.
enum CapabilityQuestions {
    private static let commands: [(feature: ServerCapabilities.Feature, command: Bytes)] = [
        (.clientTracking, "CLIENT|TRACKING"), (.clientInfo, "CLIENT|SETINFO"), (.shardedPubSub, "SSUBSCRIBE"),
        (.functions, "FUNCTION"), (.hashFieldExpiry, "HEXPIRE"), (.waitForDisk, "WAITAOF"),
        (.streamAcknowledgeAndDelete, "XACKDEL"), (.conditionalDelete, "DELEX"),
    ]

    /// Sent together. HELLO without arguments changes nothing.
    static let all: [[Bytes]] = [
        ["HELLO"], ["INFO", "server"], ["MODULE", "LIST"], ["EVAL", "#!lua flags=allow-oom\nreturn 1", "0"],
        ["COMMAND", "INFO"] + commands.map(\.command),
    ]

    static func read(_ replies: [Reply]) -> ServerCapabilities {
        var found = ServerCapabilities()
        guard replies.count == all.count else { return found }
        for (question, reply) in zip(all, replies) {
            if case .error(let error) = reply, error.prefix == "NOPERM" { found.refusedQuestions.insert(question[0].lossyString) }
        }
        let (hello, info) = (fields(replies[0]), facts(replies[1]))
        let isValkey = hello["server"]?.bytes == "valkey" || info["server_name"] == "valkey"
        found.product = isValkey ? .valkey : .redis
        // Valkey says under the old name which Redis it is compatible with.
        found.version =
            (isValkey ? info["valkey_version"] : nil) ?? hello["version"]?.bytes?.string ?? info["redis_version"] ?? ""
        found.mode = hello["mode"]?.bytes?.string ?? info["redis_mode"] ?? ""
        found.speaksRESP3 = hello["proto"]?.integer == 3
        found.modules = (replies[2].elements ?? []).compactMap { fields($0)["name"]?.bytes?.string }.sorted()
        if replies[3].integer == 1 { found.features.insert(.scriptFlags) }
        for ((feature, _), row) in zip(commands, replies[4].elements ?? []) where row.elements?.isEmpty == false {
            found.features.insert(feature)
        }
        return found
    }

    /// A map, or in RESP2 its keys and values by turns.
    private static func fields(_ reply: Reply) -> [Bytes: Reply] {
        let parts = reply.elements ?? []
        var fields: [Bytes: Reply] = [:]
        for place in stride(from: 0, to: parts.count - 1, by: 2) {
            if let name = parts[place].bytes { fields[name] = parts[place + 1] }
        }
        return fields
    }

    /// The `name:value` lines of INFO.
    private static func facts(_ reply: Reply) -> [String: String] {
        var facts: [String: String] = [:]
        for line in (reply.bytes?.lossyString ?? "").split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { facts[String(parts[0])] = String(parts[1]) }
        }
        return facts
    }
}

extension RedisStore {
    /// What the server can do; on a cluster what all primaries can. One round trip to each.
    ///
    /// - Throws: ``HoldfastStore/StoreError`` where it cannot be asked.
    public func capabilities() async throws(StoreError) -> ServerCapabilities {
        let encode: @Sendable (inout CommandWriter) -> Void = { writer in
            for question in CapabilityQuestions.all { writer.command(question) }
        }
        var found: ServerCapabilities?
        for replies in try await askEveryPrimary(CapabilityQuestions.all.count, encode) {
            let one = CapabilityQuestions.read(replies)
            found = found?.and(one) ?? one
        }
        return found ?? ServerCapabilities()
    }
}
