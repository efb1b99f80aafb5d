import HoldfastStore

/// COMMAND: what commands there are.
enum CommandCommands {
    typealias Entry = CommandDirectory.Entry

    static let all: [Entry] = [
        Entry("COMMAND", arity: -1, [], "server", run: command)
    ]

    private static func command(_ call: Call) throws(ReplyError) {
        let entries = call.endpoint.directory.entries
        switch call.subcommand {
        case "": describe(entries.map(\.self), call.client)
        case "COUNT":
            try call.expect(2)
            call.client.writer.integer(entries.count)
        case "LIST": call.client.writer.reply(Reply(bytes: try listed(call).map { Bytes($0.name.lowercased()) }))
        case "INFO":
            let named = call.arguments.dropFirst(2)
            describe(named.isEmpty ? entries.map(\.self) : named.map { find($0, call) }, call.client)
        case "DOCS":
            let named = call.arguments.dropFirst(2)
            document(named.isEmpty ? entries : named.compactMap { find($0, call) }, call.client)
        case "GETKEYS":
            // Redis's own arity: a command without arguments has no keys.
            try call.expect(4...)
            call.client.writer.reply(Reply(bytes: try keys(Array(call.arguments.dropFirst(2)), call)))
        default: throw call.unknownSubcommand
        }
    }

    /// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN glob]
    private static func listed(_ call: Call) throws(ReplyError) -> [Entry] {
        let entries = call.endpoint.directory.entries
        guard call.arguments.count > 2 else { return entries }
        guard call.arguments.count == 5, call.arguments[2].lossyString.uppercased() == "FILTERBY" else { throw .syntax }
        let value = call.arguments[4].lossyString.lowercased()
        switch call.arguments[3].lossyString.uppercased() {
        case "MODULE": return []
        case "ACLCAT": return entries.filter { $0.categories.contains("@\(value)") }
        case "PATTERN":
            let glob = Glob(Bytes(value))
            return entries.filter { glob.matches(Bytes($0.name.lowercased())) }
        default: throw .syntax
        }
    }

    private static func find(_ name: Bytes, _ call: Call) -> Entry? {
        call.endpoint.directory.place(of: name).map { call.endpoint.directory.entries[$0] }
    }

    private static func keys(_ arguments: [Bytes], _ call: Call) throws(ReplyError) -> [Bytes] {
        guard let entry = find(arguments[0], call) else { throw ReplyError("ERR Invalid command specified") }
        guard entry.keys != .none else { throw ReplyError("ERR The command has no key arguments") }
        guard entry.accepts(arguments.count) else {
            throw ReplyError("ERR Invalid number of arguments specified for command")
        }
        let keys = entry.keys.keys(in: arguments)
        guard !keys.isEmpty else { throw ReplyError("ERR Invalid arguments specified for command") }
        return keys.map(\.bytes)
    }

    // MARK: - As Redis shows them

    /// Name, arity, flags, first key, last key, step, categories, tips, key specifications, subcommands.
    private static func describe(_ entries: [Entry?], _ client: Client) {
        client.writer.array(entries.count)
        for entry in entries {
            guard let entry else {
                client.writer.null()
                continue
            }
            client.writer.array(10)
            client.writer.bulk(entry.name.lowercased())
            client.writer.integer(entry.arity)
            words(entry.flagWords, client)
            for number in entry.keys.shown { client.writer.integer(number) }
            words(entry.categories, client)
            for _ in 0..<3 { client.writer.array(0) }
        }
    }

    private static func words(_ words: [String], _ client: Client) {
        client.writer.set(words.count)
        for word in words { client.writer.status(Bytes(word)) }
    }

    private static func document(_ entries: [Entry], _ client: Client) {
        client.writer.map(entries.count)
        for entry in entries {
            let name = entry.name.lowercased()
            client.writer.bulk(name)
            client.writer.map(3)
            client.writer.bulk("summary")
            client.writer.bulk("See https://redis.io/commands/\(name)")
            client.writer.bulk("since")
            client.writer.bulk("as in \(Keyspace.redisVersion)")
            client.writer.bulk("group")
            client.writer.bulk(entry.group)
        }
    }
}

extension CommandDirectory.Entry {
    fileprivate var flagWords: [String] {
        var words: [String] = []
        if traits.contains(.write) { words.append("write") }
        if traits.contains(.readOnly) { words.append("readonly") }
        if traits.contains(.denyOOM) { words.append("denyoom") }
        if traits.contains(.admin) { words.append("admin") }
        if traits.contains(.pubSub) { words.append("pubsub") }
        if traits.contains(.noAuth) { words.append("no_auth") }
        if keys.isCounted { words.append("movablekeys") }
        return words
    }

    fileprivate var categories: [String] {
        var words: [String] = []
        if traits.contains(.write) { words.append("@write") }
        if traits.contains(.readOnly) { words.append("@read") }
        if traits.contains(.admin) { words += ["@admin", "@dangerous"] }
        switch group {
        case "generic": words.append("@keyspace")
        case "sorted-set": words.append("@sortedset")
        case "transactions": words.append("@transaction")
        case "server", "cluster": break
        default: words.append("@\(group)")
        }
        return words
    }
}

extension CommandSpec.KeyPositions {
    fileprivate var isCounted: Bool {
        switch self {
        case .counted, .destinationAndCounted: true
        case .none, .range: false
        }
    }

    /// First key, last key, step.
    fileprivate var shown: [Int] {
        switch self {
        case .none, .counted: [0, 0, 0]
        case .range(let first, let last, let step): [first, last, step]
        case .destinationAndCounted: [1, 1, 1]
        }
    }
}
