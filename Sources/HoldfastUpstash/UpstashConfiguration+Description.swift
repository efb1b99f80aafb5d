/// Without its token in every way that Swift can show it: interpolated, printed, dumped, or as part of something else.
extension UpstashConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "UpstashConfiguration(url: \(shownURL), token: ***)" }
    public var debugDescription: String { description }

    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "url": shownURL, "token": "***", "tls": tls as Any, "commandTimeout": commandTimeout,
                "connectTimeout": connectTimeout,
                "retriesOnTimeout": retriesOnTimeout, "maximumRequestBytes": maximumRequestBytes,
                "maximumKeyBytes": maximumKeyBytes, "maximumResponseBytes": maximumResponseBytes,
                "reconnectBackoff": reconnectBackoff, "streamIdleLimit": streamIdleLimit,
            ], displayStyle: .struct)
    }

    /// A URL may name a user and a password before its host.
    private var shownURL: String {
        guard let start = url.firstRange(of: "://")?.upperBound, let at = url[start...].lastIndex(of: "@") else { return url }
        return url[..<start] + "***" + url[at...]
    }
}
