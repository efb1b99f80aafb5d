import HoldfastStore

/// What matters of the reply to CLUSTER NODES: who belongs to the cluster. CLUSTER SLOTS tells only of those that serve some.
struct ClusterNodes {
    typealias Node = RedisConfiguration.Node

    /// By address and, where it has one, by name: a redirection has either.
    private(set) var all: Set<Node> = []

    /// - Parameter reply: lines such as `<id> 10.0.0.1:6379@16379,node.example,shard-id=… flags …`.
    init(_ reply: Reply) {
        for line in (reply.bytes?.lossyString ?? "").split(whereSeparator: \.isNewline) {
            let words = line.split(separator: " ")
            guard words.count > 2 else { continue }
            let parts = words[1].split(separator: ",", omittingEmptySubsequences: false)
            let address = parts[0].prefix { $0 != "@" }
            guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...])
            else { continue }
            let name = parts.count > 1 ? parts[1] : ""
            for host in [address[..<colon], name] where !host.isEmpty { all.insert(Node(host: String(host), port: port)) }
        }
    }
}
