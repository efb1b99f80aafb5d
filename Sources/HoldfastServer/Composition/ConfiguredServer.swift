import HoldfastRedis
public import HoldfastStore
import HoldfastUpstash

/// The server that the settings name, in whichever protocol, and how to part from it.
public struct ConfiguredServer: Sendable {
    public let store: any Store
    /// Where its password comes from; nil where that cannot change.
    let password: LastPassword?
    /// Shows the connections that exist the credentials of now; nil where these cannot change.
    let reauthenticate: (@Sendable () async throws(StoreError) -> Void)?
    private let close: @Sendable () async -> Void

    /// Connects to nothing yet; nil where no server is used.
    ///
    /// - Parameters:
    ///   - clientName: shown in a Redis's CLIENT LIST.
    ///   - whenPasswordIsLost: told once each time that the password's file cannot be read any more. The last password is used meanwhile.
    /// - Throws: ``HoldfastStore/StoreError`` naming the setting that cannot work.
    public init?(
        _ redis: HoldfastConfiguration.Redis, clientName: String = "holdfast",
        whenPasswordIsLost: @escaping @Sendable (StoreError) -> Void = { _ in }
    ) throws(StoreError) {
        guard redis.isEnabled else { return nil }
        if let configuration = redis.upstashConfiguration {
            let store: UpstashStore
            do { store = try UpstashStore(configuration) } catch { throw error.namingSettings() }
            self.store = store
            (password, reauthenticate) = (nil, nil)
            close = { await store.shutdown() }
        } else {
            let password = try redis.passwordFile.map { file throws(StoreError) in
                try LastPassword(file, whenLost: whenPasswordIsLost)
            }
            let store = try Self.redis(redis, clientName, password)
            self.store = store
            self.password = password
            let showsNow: @Sendable () async throws(StoreError) -> Void = { () async throws(StoreError) in
                try await store.reauthenticate()
            }
            reauthenticate = password == nil ? nil : showsNow
            close = { await store.shutdown() }
        }
    }

    private static func redis(
        _ redis: HoldfastConfiguration.Redis, _ clientName: String, _ password: LastPassword?
    ) throws(StoreError) -> RedisStore {
        var configuration = redis.storeConfiguration(clientName: clientName)
        if let password {
            configuration.credentials = { .init(username: redis.username, password: password.read()) }
        }
        do { return try RedisStore(configuration) } catch { throw error.namingSettings() }
    }

    /// Closes the connections; later calls fail.
    public func shutdown() async { await close() }
}
