import HoldfastStore

extension RedisConfiguration {
    /// As whom a connection is made. Never written to logs: its description hides the password.
    public struct Credentials: Hashable, Sendable {
        /// The ACL user; nil for the default user.
        public var username: String?
        /// Nil or empty for none.
        public var password: String?

        public init(username: String? = nil, password: String?) {
            self.username = username
            self.password = password
        }
    }

    /// The same with the credentials of now.
    ///
    /// - Throws: ``ErrorCode/connectionFailed`` where they cannot be had.
    func identified() async throws(StoreError) -> RedisConfiguration {
        guard let credentials else { return self }
        var configuration = self
        do {
            let now = try await credentials()
            (configuration.username, configuration.password) = (now.username, now.password)
        } catch {
            // Another error's own text could hold the secret; that of a `StoreError` holds none.
            let reason = (error as? StoreError)?.message ?? "\(type(of: error))"
            throw StoreError(.connectionFailed, "The credentials could not be had: \(reason)")
        }
        return configuration
    }
}
