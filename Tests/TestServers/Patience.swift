public import HoldfastRedis
import HoldfastStore

extension RedisConfiguration {
    /// The same for a machine that may be held up for many seconds.
    public var patient: RedisConfiguration {
        var configuration = self
        (configuration.commandTimeout, configuration.connectTimeout) = (.seconds(60), .seconds(60))
        return configuration
    }
}

/// Waits until servers are as they should be; what goes wrong meanwhile only means "not yet".
func polled(_ failure: String, every pause: Duration = .milliseconds(20), _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(180)
    var last = ""
    while ContinuousClock.now < end {
        do { if try await condition() { return } } catch { last = "\(error)" }
        try await Task.sleep(for: pause)
    }
    throw TestServerError("\(failure) \(last)")
}
