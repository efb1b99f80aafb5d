import Holdfast
import HoldfastStore

/// One caller's view of the store: its own names behind its own prefix, and the commands that its role allows.
///
/// What an application of Upstash's calls `foo` is the key `<prefix>upstash:foo` here, or `<prefix>t:<tenant>:upstash:foo`: names of
/// its own, apart from other tenants' and from what Holdfast's services keep (docs/decisions/0012).
struct UpstashCaller: Sendable {
    static let maximumKeyBytes = 32 * 1024
    /// Above this many keys KEYS, DBSIZE and RANDOMKEY refuse; SCAN does not.
    static let maximumListedKeys = 1_000_000
    /// What one SCAN looks at: a larger COUNT is taken as this, and the cursor goes on behind it.
    static let maximumScanCount: Int64 = 10_000

    /// What stands before every key and channel of this caller's.
    let head: Bytes
    let role: CallContext.Role
    let isServed: Bool
    let scripts: ScriptNames
    /// Whether the caller waits for its answer no more.
    let hasLeft: @Sendable () async -> Bool

    init(
        _ namespace: Namespace, role: CallContext.Role, isServed: Bool, scripts: ScriptNames,
        hasLeft: @escaping @Sendable () async -> Bool = { false }
    ) {
        head = namespace.key("upstash:").bytes
        self.role = role
        self.isServed = isServed
        self.scripts = scripts
        self.hasLeft = hasLeft
    }

    /// What becomes of one command.
    enum Plan: Sendable {
        /// It is sent, and its reply is put into the caller's terms.
        case send([Bytes], restore: @Sendable (Reply) -> Reply = { $0 })
        /// It is made of several calls and has no place in a transaction.
        case compose(@Sendable (any Store) async throws(StoreError) -> Reply)
        case refuse(ReplyError)
    }

    func plan(_ arguments: [Bytes]) -> Plan {
        guard let first = arguments.first, !first.isEmpty else { return .refuse(ReplyError("ERR empty command")) }
        let name = String(decoding: first.prefix(64), as: UTF8.self).uppercased()
        do throws(ReplyError) {
            if let plan = try listing(name, arguments) { return plan }
            if let plan = try scripting(name, arguments) { return plan }
            return try ordinary(name, arguments)
        } catch {
            return .refuse(error)
        }
    }

    // MARK: - Commands that name their keys

    private func ordinary(_ name: String, _ arguments: [Bytes]) throws(ReplyError) -> Plan {
        if name == "INFO" { return try administrative(name, arguments) }
        guard let row = RawCommand.named(arguments[0]) else { throw Self.unsupported(name, arguments) }
        guard row.isReading || role > .reader else { throw Self.forbidden(name) }
        guard isServed || CommandTable.shared[arguments[0]] != nil else { throw Self.needsServer(name) }
        if row.keys == .behindStreams, StreamReadOptions(arguments).block != nil {
            throw ReplyError("ERR \(name) with BLOCK is not supported over REST")
        }
        // Nothing else: DB would name another database, whose keys are nobody's. A server reads words up to their first zero byte.
        if name == "COPY", arguments.dropFirst(3).contains(where: { $0.lossyString.uppercased() != "REPLACE" }) { throw .syntax }
        guard row.draws(arguments) <= Keyspace.maximumDraws.magnitude else { throw .tooManyDraws }
        var sent = arguments
        let keys = name == "PUBLISH" ? RawCommand.Keys.first : row.keys
        for position in keys.positions(in: arguments) { sent[position] = try prefixed(arguments[position]) }
        switch name {
        case "LMPOP", "ZMPOP": return .send(sent) { [head] in $0.replacingFirst { Self.own($0, head) } }
        case "XREAD", "XREADGROUP": return .send(sent) { [head] in Self.ownStreams($0, head) }
        default: return .send(sent)
        }
    }

    private func administrative(_ name: String, _ arguments: [Bytes]) throws(ReplyError) -> Plan {
        guard role == .admin else { throw Self.forbidden(name) }
        return .send(arguments)
    }

    func prefixed(_ key: Bytes) throws(ReplyError) -> Bytes {
        guard key.count <= Self.maximumKeyBytes else {
            throw ReplyError("ERR max key size exceeded. Limit: \(Self.maximumKeyBytes) bytes, Actual: \(key.count) bytes")
        }
        return joined(key)
    }

    private func joined(_ name: Bytes) -> Bytes {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(head.count + name.count)
        bytes.append(contentsOf: head)
        bytes.append(contentsOf: name)
        return Bytes(bytes)
    }

    /// A key's own name.
    private static func own(_ key: Bytes, _ head: Bytes) -> Bytes {
        key.starts(with: head) ? key[(key.startIndex + head.count)..<key.endIndex] : key
    }

    private static func ownStreams(_ reply: Reply, _ head: Bytes) -> Reply {
        switch reply {
        case .map(let elements):
            return .map(
                elements.enumerated().map { index, element in
                    index.isMultiple(of: 2) ? element.bytes.map { .bytes(own($0, head)) } ?? element : element
                })
        case .array(let streams): return .array(streams.map { $0.replacingFirst { own($0, head) } })
        default: return reply
        }
    }

    // MARK: - Channels

    func channel(_ name: Bytes) throws(ReplyError) -> ChannelSelector { .channel(Channel(try prefixed(name))) }
    func pattern(_ glob: Bytes) throws(ReplyError) -> ChannelSelector {
        _ = try prefixed(glob)
        return .pattern(matching(glob))
    }
    func ownName(of channel: Channel) -> Bytes { Self.own(channel.bytes, head) }

    // MARK: - Commands over all keys

    private func listing(_ name: String, _ arguments: [Bytes]) throws(ReplyError) -> Plan? {
        guard let count = Self.listingArity[name] else { return nil }
        guard role > .reader else { throw Self.forbidden(name) }
        guard count.contains(arguments.count) else { throw .wrongArity(name) }
        switch name {
        case "SCAN": return try scan(arguments)
        case "KEYS":
            let glob = matching(arguments[1])
            return .compose { [self] store throws(StoreError) in
                .array(try await keys(glob, in: store).map { .bytes(Self.own($0, head)) })
            }
        case "DBSIZE":
            return .compose { [self] store throws(StoreError) in .integer(Int64(try await keys(matching("*"), in: store).count)) }
        case "RANDOMKEY":
            return .compose { [self] store throws(StoreError) in
                try await keys(matching("*"), in: store, until: 1).randomElement().map { .bytes(Self.own($0, head)) } ?? .null
            }
        default:
            // Whoever meant something else by it has all keys still.
            guard arguments.count == 1 || Self.flushOptions.contains(arguments[1].lossyString.uppercased()) else { throw .syntax }
            return .compose { [self] store throws(StoreError) in try await flush(store) }
        }
    }

    private static let flushOptions: Set<String> = ["SYNC", "ASYNC"]

    private static let listingArity: [String: ClosedRange<Int>] = [
        "SCAN": 2...12, "KEYS": 2...2, "DBSIZE": 1...1, "RANDOMKEY": 1...1, "FLUSHDB": 1...2, "FLUSHALL": 1...2,
    ]

    /// A caller's glob, among its own names.
    private func matching(_ glob: Bytes) -> Bytes { Bytes(Glob.escape(head) + Array(glob)) }

    private func scan(_ arguments: [Bytes]) throws(ReplyError) -> Plan {
        var sent = Array(arguments.prefix(2))
        var glob: Bytes = "*"
        var index = 2
        while index + 1 < arguments.count {
            switch arguments[index].lossyString.uppercased() {
            case "MATCH": glob = arguments[index + 1]
            case "COUNT":
                let count = arguments[index + 1]
                sent += ["COUNT", count.integer.map { Bytes(min($0, Self.maximumScanCount)) } ?? count]
            default: sent += arguments[index...(index + 1)]
            }
            index += 2
        }
        guard index == arguments.count else { throw .syntax }
        sent += ["MATCH", matching(glob)]
        return .send(sent) { [head] reply in
            guard case .array(let parts) = reply, parts.count == 2, let keys = parts[1].list else { return reply }
            return .array([parts[0], .array(keys.map { .bytes(Self.own($0, head)) })])
        }
    }

    /// The keys that match, each once, by as many SCANs as it takes: not one moment's picture, as KEYS would give.
    ///
    /// - Parameter enough: stops behind the page that brought this many.
    /// - Throws: ``HoldfastStore/ErrorCode/cancelled`` between two pages, where nobody waits for them.
    private func keys(_ glob: Bytes, in store: any Store, until enough: Int = .max) async throws(StoreError) -> Set<Bytes> {
        var found: Set<Bytes> = []
        var size = 0
        var pages = store.scan(matching: glob, pageSize: 1000).makeAsyncIterator()
        while found.count < enough, let page = try await pages.next(isolation: nil) {
            for key in page where found.insert(key.bytes).inserted { size += key.bytes.count - head.count }
            guard found.count <= Self.maximumListedKeys, size <= UpstashAllowance.maximumBytes else {
                throw StoreError(
                    .tooLarge,
                    "There are more than \(Self.maximumListedKeys) keys, or than \(UpstashAllowance.maximumBytes) bytes of them; use SCAN"
                )
            }
            try await checkCaller()
        }
        return found
    }

    /// Removes this caller's keys, and nobody else's.
    private func flush(_ store: any Store) async throws(StoreError) -> Reply {
        var pages = store.scan(matching: matching("*"), pageSize: 1000).makeAsyncIterator()
        var isBegun = false
        do throws(StoreError) {
            while let page = try await pages.next(isolation: nil) {
                if page.isEmpty { continue }
                _ = try await store(.unlink(page))
                isBegun = true
                try await checkCaller()
            }
        } catch {
            throw isBegun ? error.withUnknownEffect() : error
        }
        return .ok
    }

    // MARK: - Scripts

    private func scripting(_ name: String, _ arguments: [Bytes]) throws(ReplyError) -> Plan? {
        guard ["EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "SCRIPT"].contains(name) else { return nil }
        guard isServed else { throw Self.needsServer(name) }
        guard role > .reader || name.hasSuffix("_RO") else { throw Self.forbidden(name) }
        if name == "SCRIPT" { return try manage(arguments) }
        guard arguments.count >= 3 else { throw .wrongArity(name) }
        var sent = arguments
        if name.hasPrefix("EVALSHA") {
            guard let digest = scripts.digest(for: arguments[1]) else {
                throw ReplyError("NOSCRIPT No matching script. Please use EVAL.")
            }
            sent[1] = digest
        } else {
            sent[1] = ScriptSandbox.text(of: arguments[1])
            scripts.add(arguments[1], sentAs: sent[1])
        }
        guard let count = arguments[2].integer else { throw .notAnInteger }
        guard count >= 0 else { throw ReplyError("ERR Number of keys can't be negative") }
        guard count <= arguments.count - 3 else { throw ReplyError("ERR Number of keys can't be greater than number of args") }
        let end = 3 + Int(count)
        for position in 3..<end { sent[position] = try prefixed(arguments[position]) }
        sent.insert(head, at: end)
        return .send(sent)
    }

    private func manage(_ arguments: [Bytes]) throws(ReplyError) -> Plan {
        let verb = arguments.count > 1 ? arguments[1].lossyString.uppercased() : ""
        switch (verb, arguments.count) {
        case ("LOAD", 3):
            let text = ScriptSandbox.text(of: arguments[2])
            let name = scripts.add(arguments[2], sentAs: text)
            return .send(["SCRIPT", "LOAD", text]) { reply in
                if case .error = reply { reply } else { .bytes(name) }
            }
        case ("EXISTS", 3...):
            // What is not known here has a digest that no script has.
            let digests = arguments.dropFirst(2).map { scripts.digest(for: $0) ?? "-" }
            return .send(["SCRIPT", "EXISTS"] + digests)
        case ("FLUSH", 2...3):
            guard role == .admin else { throw Self.forbidden("SCRIPT FLUSH") }
            scripts.removeAll()
            return .send(["PING"]) { _ in .ok }
        default: throw Self.unsupported("SCRIPT", arguments)
        }
    }

    // MARK: - Refusals

    private static func forbidden(_ name: String) -> ReplyError {
        ReplyError("NOPERM this user has no permissions to run the '\(name.lowercased())' command")
    }

    private static func needsServer(_ name: String) -> ReplyError {
        ReplyError(
            "ERR \(name) runs on a Redis server only, and this Holdfast keeps its entries in its own process (embedded store)")
    }

    private static func unsupported(_ name: String, _ arguments: [Bytes]) -> ReplyError {
        let shown = Bytes(Array(name.utf8.map { $0 < 0x20 ? 0x20 : $0 })).lossyString
        return ReplyError("ERR Command is not available: '\(shown)'. See docs/connecting/upstash.md for those that are")
    }
}

extension Reply {
    /// An array with its first element changed, where that is a string.
    fileprivate func replacingFirst(_ change: (Bytes) -> Bytes) -> Reply {
        guard case .array(var elements) = self, let first = elements.first?.bytes else { return self }
        elements[0] = .bytes(change(first))
        return .array(elements)
    }
}
