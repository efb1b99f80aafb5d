public import HoldfastUpstash

extension HoldfastConfiguration.Redis {
    /// The same settings for an ``UpstashStore``; nil where the protocol is not REST.
    public var upstashConfiguration: UpstashConfiguration? {
        guard wire == .rest, let rest else { return nil }
        var configuration = UpstashConfiguration(url: rest.url, token: rest.token.value)
        configuration.commandTimeout = timeout
        configuration.connectTimeout = connectTimeout
        configuration.retriesOnTimeout = retryOnTimeout
        return configuration
    }
}
