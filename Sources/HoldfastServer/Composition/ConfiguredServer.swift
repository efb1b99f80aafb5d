import HoldfastRedis
public import HoldfastStore
import HoldfastUpstash

/// The server that the settings name, in whichever protocol, and how to part from it.
public struct ConfiguredServer: Sendable {
    public let store: any Store
    /// Shows the connections that exist the credentials of now; nil where these cannot change.
    let reauthenticate: (@Sendable () async throws(StoreError) -> Void)?
    private let close: @Sendable () async -> Void

    /// Connects to nothing yet; nil where no server is used.
    ///
    /// - Parameter clientName: shown in a Redis's CLIENT LIST.
    /// - Throws: ``HoldfastStore/StoreError`` naming the setting that cannot work.
    public init?(_ redis: HoldfastConfiguration.Redis, clientName: String = "holdfast") throws(StoreError) {
        guard redis.isEnabled else { return nil }
        if let configuration = redis.upstashConfiguration {
            let store = try UpstashStore(configuration)
            self.store = store
            reauthenticate = nil
            close = { await store.shutdown() }
        } else {
            let store = try RedisStore(redis.storeConfiguration(clientName: clientName))
            self.store = store
            let showsNow: @Sendable () async throws(StoreError) -> Void = { () async throws(StoreError) in
                try await store.reauthenticate()
            }
            reauthenticate = redis.passwordFile == nil ? nil : showsNow
            close = { await store.shutdown() }
        }
    }

    /// Closes the connections; later calls fail.
    public func shutdown() async { await close() }
}
