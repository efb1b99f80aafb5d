extension HoldfastConfiguration.Redis {
    /// What a store of these settings would refuse, by the names of the settings: one line each.
    var contradictions: [String] {
        var lines: [String] = []
        if cluster != nil { lines += clusterContradictions }
        if sharedConnections > 1, clientTracking == .reads {
            lines.append(
                "REDIS_SHARED_CONNECTIONS=\(sharedConnections) with REDIS_CLIENT_TRACKING=reads: accepted is 1, "
                    + "the server tells each connection of what that one has read")
        }
        if let name = sentinel?.master, name.contains(where: \.isWhitespace) {
            lines.append("REDIS_SENTINEL_MASTER=\(name): accepted is a name without spaces")
        }
        // As long as `sockaddr_un` allows on every system.
        if case .unixSocket(let path) = address, path.utf8.count > 103 {
            lines.append("The Unix socket's path has \(path.utf8.count) bytes: accepted are 103 at most")
        }
        return lines
    }

    private var clusterContradictions: [String] {
        var lines: [String] = []
        if database != 0 {
            lines.append("REDIS_DATABASE=\(database) with a cluster: accepted is 0, a cluster has no other database")
        }
        if sharedConnections > 1 {
            lines.append(
                "REDIS_SHARED_CONNECTIONS=\(sharedConnections) with a cluster: accepted is 1, each node has a connection of its own"
            )
        }
        if case .unixSocket(let path) = address, cluster?.isEmpty == true {
            lines.append("A cluster behind the Unix socket \(path): REDIS_CLUSTER_NODES must name nodes by host:port")
        }
        return lines
    }
}
