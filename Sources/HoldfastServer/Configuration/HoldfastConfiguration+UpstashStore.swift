public import HoldfastUpstash

extension HoldfastConfiguration.Redis {
    /// The same settings for an ``UpstashStore``; nil where the protocol is not REST.
    public var upstashConfiguration: UpstashConfiguration? {
        guard wire == .rest, let rest else { return nil }
        var configuration = UpstashConfiguration(url: rest.url, token: rest.token.value)
        configuration.tls = tls?.upstashConfiguration
        configuration.commandTimeout = timeout
        configuration.connectTimeout = connectTimeout
        configuration.retriesOnTimeout = retryOnTimeout
        return configuration
    }
}

extension HoldfastConfiguration.Redis.TLS {
    fileprivate var upstashConfiguration: UpstashConfiguration.TLS {
        UpstashConfiguration.TLS(
            verification: certificateRequirements.verifies ? .full : .none, authorityFile: caFile,
            certificateFile: certificateFile, keyFile: keyFile)
    }
}
