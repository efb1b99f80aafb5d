/// Where a socket goes.
enum ServerAddress: Hashable, Sendable, CustomStringConvertible {
    case tcp(host: String, port: Int)
    case unixSocket(path: String)

    init(_ node: RedisConfiguration.Node) { self = .tcp(host: node.host, port: node.port) }

    var description: String {
        switch self {
        case .tcp(let host, let port): RedisConfiguration.Node(host: host, port: port).description
        case .unixSocket(let path): path
        }
    }
}
