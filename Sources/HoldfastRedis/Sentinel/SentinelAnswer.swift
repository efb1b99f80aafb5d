import HoldfastStore

/// What one sentinel says about a primary.
struct SentinelAnswer: Equatable {
    typealias Node = RedisConfiguration.Node

    var primary: Node
    /// Raised by each failover: of two answers the one with the higher epoch is the newer.
    var epoch: Int64
    /// The other sentinels that it knows.
    var sentinels: [Node]

    /// The questions, to be sent together.
    static func questions(about name: String) -> [[Bytes]] {
        let name = Bytes(name)
        return [
            ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name], ["SENTINEL", "MASTER", name], ["SENTINEL", "SENTINELS", name],
        ]
    }

    /// Reads the replies to ``questions(about:)``.
    /// - Throws: ``ErrorCode/serverRefused`` where the sentinel does not know the name or does not let us in.
    init(_ replies: [Reply], name: String) throws(StoreError) {
        guard replies.count == 3 else { throw StoreError(.unexpectedReply, operation: "SENTINEL") }
        if case .error(let error) = replies[0] { throw Self.refusal(error) }
        guard !replies[0].isNull else {
            throw StoreError(.serverRefused, "The sentinels watch nothing called \(name)", operation: "SENTINEL")
        }
        guard let parts = replies[0].list, parts.count == 2, let node = Self.node(parts[0], parts[1]) else {
            throw StoreError(.unexpectedReply, operation: "SENTINEL")
        }
        primary = node
        epoch = Self.fields(replies[1])["config-epoch"]?.integer ?? 0
        sentinels = (replies[2].elements ?? []).compactMap { reply in
            let fields = Self.fields(reply)
            guard let host = fields["ip"], let port = fields["port"] else { return nil }
            return Self.node(host, port)
        }
    }

    /// One that is starting or full may do better soon; what else it says is a matter of configuration.
    private static func refusal(_ error: ReplyError) -> StoreError {
        let failure = StoreError(error, operation: "SENTINEL")
        return failure.isServerFailure ? failure : StoreError(.serverRefused, failure.message, operation: "SENTINEL")
    }

    /// The address of a message such as `mymaster 127.0.0.1 6379 127.0.0.1 6380`, where it is about that name.
    static func node(ofSwitch payload: Bytes, name: String) -> Node? {
        let words = payload.lossyString.split(separator: " ")
        guard words.count >= 5, words[0] == name else { return nil }
        return node(Bytes(String(words[3])), Bytes(String(words[4])))
    }

    /// A map, or in RESP2 its keys and values by turns.
    private static func fields(_ reply: Reply) -> [Bytes: Bytes] {
        let parts = reply.elements ?? []
        var fields: [Bytes: Bytes] = [:]
        for place in stride(from: 0, to: parts.count - 1, by: 2) {
            if let name = parts[place].bytes, let value = parts[place + 1].bytes { fields[name] = value }
        }
        return fields
    }

    private static func node(_ host: Bytes, _ port: Bytes) -> Node? {
        guard let host = host.string, !host.isEmpty, let port = port.integer, (1...65_535).contains(port) else { return nil }
        return Node(host: host, port: Int(port))
    }
}
