import HoldfastStore

extension RedisConfiguration {
    /// - Throws: ``ErrorCode/invalidArgument`` naming the setting that cannot work.
    func validate() throws(StoreError) {
        try endpoint.validate()
        guard database >= 0 else { throw .invalid("database", "\(database) is no database (0 or more)") }
        if case .cluster = endpoint, database != 0 { throw .invalid("database", "A cluster has no database but 0") }
        guard commandTimeout > .zero else { throw .invalid("commandTimeout", "A timeout is longer than nothing") }
        guard connectTimeout > .zero else { throw .invalid("connectTimeout", "A timeout is longer than nothing") }
        guard maximumInFlight > 0 else { throw .invalid("maximumInFlight", "At least one call must be allowed") }
        guard maximumQueuedBytes > 0 else { throw .invalid("maximumQueuedBytes", "At least one byte must be allowed") }
        guard backoff.initial > .zero, backoff.maximum >= backoff.initial else {
            throw .invalid("backoff", "The first pause is longer than nothing, and the longest no shorter")
        }
        if tls != nil, case .unixSocket = endpoint { throw .invalid("tls", "A Unix socket has no TLS") }
        guard (1...64).contains(sharedConnections) else {
            throw .invalid("sharedConnections", "\(sharedConnections) is not 1 to 64")
        }
        if sharedConnections > 1 {
            if case .cluster = endpoint { throw .invalid("sharedConnections", "A cluster has one connection to each node") }
            if clientTracking == .reads { throw .invalid("sharedConnections", "Tracking by what was read needs one connection") }
        }
        guard maximumConnections > 0 else { throw .invalid("maximumConnections", "At least one connection must be allowed") }
        guard maximumWaitingForConnections >= 0 else { throw .invalid("maximumWaitingForConnections", "A number is 0 or more") }
        guard idleTimeout > .zero else { throw .invalid("idleTimeout", "A timeout is longer than nothing") }
        guard keepAlive > .zero else { throw .invalid("keepAlive", "An interval is longer than nothing") }
        if let clientName {
            let isPrintable = clientName.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
            guard isPrintable else { throw .invalid("clientName", "A client name has no spaces or special characters") }
        }
    }
}

extension RedisConfiguration.Endpoint {
    fileprivate func validate() throws(StoreError) {
        switch self {
        case .tcp(let host, let port): try RedisConfiguration.Node(host: host, port: port).validate()
        case .unixSocket(let path):
            // sockaddr_un holds 108 bytes on Linux, 104 on macOS, with the closing zero.
            guard (1...103).contains(path.utf8.count) else { throw .invalid("path", "A socket's path has 1 to 103 bytes") }
        case .cluster(let cluster):
            guard !cluster.nodes.isEmpty else { throw .invalid("cluster.nodes", "At least one node is needed") }
            for node in cluster.nodes { try node.validate() }
            guard cluster.refreshInterval > .zero else {
                throw .invalid("cluster.refreshInterval", "An interval is longer than nothing")
            }
        case .sentinel(let sentinel):
            guard !sentinel.nodes.isEmpty else { throw .invalid("sentinel.nodes", "At least one sentinel is needed") }
            for node in sentinel.nodes { try node.validate() }
            guard !sentinel.primary.isEmpty, !sentinel.primary.contains(where: \.isWhitespace) else {
                throw .invalid("sentinel.primary", "The name of what the sentinels watch has no spaces and is not empty")
            }
        }
    }
}

extension RedisConfiguration.Node {
    fileprivate func validate() throws(StoreError) {
        guard !host.isEmpty else { throw .invalid("host", "The host is empty") }
        guard (1...65_535).contains(port) else { throw .invalid("port", "\(port) is no port (1-65535)") }
    }
}
