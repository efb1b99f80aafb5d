import HoldfastStore

/// What a cluster's error line asks the client to do. Nothing was carried out in any of these cases.
enum Redirection: Equatable {
    typealias Node = RedisConfiguration.Node

    /// The slot belongs to that node from now on.
    case moved(slot: Int, Node)
    /// The key is on that node already, while its slot is being moved: this once, with ASKING in front.
    case ask(Node)
    /// Some keys are here and some there, the cluster has no majority, the node has just become a replica, or is loading: wait, and
    /// look again who serves the slot.
    case wait

    /// - Parameter host: of the node that answered, which stands for an address that is left out.
    init?(_ error: ReplyError, host: String) {
        switch error.prefix {
        case "MOVED", "ASK":
            let words = error.line.split(separator: " ")
            guard words.count >= 3, let slot = Int(words[1]), (0..<ClusterSlot.count).contains(slot),
                let node = Self.node(words[2], host: host)
            else { return nil }
            self = words[0] == "ASK" ? .ask(node) : .moved(slot: slot, node)
        case "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN": self = .wait
        default: return nil
        }
    }

    /// `host:port`; the host may be empty, and may itself have colons.
    private static func node(_ text: Substring, host: String) -> Node? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (1...65_535).contains(port)
        else { return nil }
        let address = text[..<colon]
        return address == "?" ? nil : Node(host: address.isEmpty ? host : String(address), port: port)
    }
}
