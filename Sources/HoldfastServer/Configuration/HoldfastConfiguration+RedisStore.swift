public import HoldfastRedis

extension HoldfastConfiguration.Redis {
    /// The same settings for a ``RedisStore``. Says nothing of REST, cluster and sentinels.
    ///
    /// - Parameter clientName: shown in the server's CLIENT LIST.
    public func storeConfiguration(clientName: String? = "holdfast") -> RedisConfiguration {
        let endpoint: RedisConfiguration.Endpoint =
            switch address {
            case .tcp(let host, let port): .tcp(host: host, port: port)
            case .unixSocket(let path): .unixSocket(path: path)
            }
        var configuration = RedisConfiguration(
            endpoint: endpoint, username: username, password: password?.value, database: database, tls: tls?.storeConfiguration,
            clientName: clientName)
        configuration.commandTimeout = timeout
        configuration.connectTimeout = connectTimeout
        configuration.retriesOnTimeout = retryOnTimeout
        return configuration
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
            verification: verification, authorityFile: caFile, certificateFile: certificateFile, keyFile: keyFile)
    }
}
