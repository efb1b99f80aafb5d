public import HoldfastRedis
package import HoldfastStore

extension HoldfastConfiguration.Redis {
    /// The same settings for a ``RedisStore``. Says nothing of REST.
    ///
    /// - Parameter clientName: shown in the server's CLIENT LIST.
    public func storeConfiguration(clientName: String? = "holdfast") -> RedisConfiguration {
        var configuration = RedisConfiguration(
            endpoint: endpoint, username: username, password: password?.value, database: database, tls: tls?.storeConfiguration,
            clientName: clientName)
        if let passwordFile {
            configuration.credentials = { [username] in .init(username: username, password: try passwordFile.read()) }
        }
        configuration.commandTimeout = timeout
        configuration.connectTimeout = connectTimeout
        configuration.retriesOnTimeout = retryOnTimeout
        configuration.maximumConnections = maxConnections
        configuration.sharedConnections = sharedConnections
        configuration.clientTracking =
            switch clientTracking {
            case .broadcast: .broadcast
            case .reads: .reads
            case .off: .off
            }
        return configuration
    }

    private var endpoint: RedisConfiguration.Endpoint {
        if let sentinel {
            return .sentinel(
                .init(
                    nodes: sentinel.nodes.map { RedisConfiguration.Node(host: $0.host, port: $0.port) }, primary: sentinel.master,
                    username: sentinel.username, password: sentinel.password?.value))
        }
        if let cluster {
            let nodes = cluster.isEmpty ? address.node.map { [$0] } ?? [] : cluster
            return .cluster(.init(nodes: nodes.map { RedisConfiguration.Node(host: $0.host, port: $0.port) }))
        }
        return switch address {
        case .tcp(let host, let port): .tcp(host: host, port: port)
        case .unixSocket(let path): .unixSocket(path: path)
        }
    }
}

extension StoreError {
    /// The same, with the names of the settings in place of those that a ``HoldfastRedis/RedisConfiguration`` has for its parts.
    package func namingSettings() -> StoreError {
        func renamed(_ text: String) -> String {
            Self.settings.reduce(text) { text, names in text.replacing(names.part, with: names.setting) }
        }
        return StoreError(code, renamed(message), effect: effect, operation: operation, field: field.map(renamed))
    }

    private static let settings: [(part: String, setting: String)] = [
        ("tls.authorityFile", "REDIS_SSL_CA_CERTS"), ("tls.certificateFile", "REDIS_SSL_CERTFILE"),
        ("tls.keyFile", "REDIS_SSL_KEYFILE"), ("tls.serverName", "REDIS_SSL_SERVER_NAME"),
    ]
}

extension HoldfastConfiguration.Redis.Address {
    fileprivate var node: HostAndPort? {
        if case .tcp(let host, let port) = self { HostAndPort(host: host, port: port) } else { nil }
    }
}

extension HoldfastConfiguration.Redis.TLS {
    fileprivate var storeConfiguration: RedisConfiguration.TLS {
        let verification: RedisConfiguration.TLS.Verification =
            switch certificateRequirements {
            case .none: .none
            case .optional: .optional
            case .required: .required
            }
        return RedisConfiguration.TLS(
            verification: verification, authorityFile: caFile, certificateFile: certificateFile, keyFile: keyFile,
            serverName: serverName)
    }
}
