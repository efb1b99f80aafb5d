// What holds a password is written to logs by accident sooner or later: what stands there is this.

extension RedisConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Where it leads, and as whom; no password.
    public var description: String {
        let parts = [
            "\(endpoint)", username.map { "as \($0)" }, database == 0 ? nil : "database \(database)", tls == nil ? nil : "TLS",
        ]
        return "RedisConfiguration(\(parts.compactMap(\.self).joined(separator: ", ")))"
    }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension RedisConfiguration.Sentinel: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The sentinels and what they watch; no password.
    public var description: String { "\(primary) of \(nodes)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension RedisConfiguration.Credentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The user; no password.
    public var description: String { "Credentials(username: \(username ?? "default"), password: hidden)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
