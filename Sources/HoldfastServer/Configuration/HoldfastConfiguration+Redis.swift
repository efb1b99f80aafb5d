extension HoldfastConfiguration {
    /// The Redis server to use, with every source of its address already weighed.
    public struct Redis: Sendable, Hashable {
        /// Whether Redis is used at all; otherwise the embedded store is.
        public var isEnabled = false
        public var wire: Wire = .native
        public var address: Address = .tcp(host: "127.0.0.1", port: 6379)
        public var database = 0
        public var username: String?
        /// Never empty.
        public var password: Secret?
        /// Where the password is read from for each new connection, in place of ``password``.
        public var passwordFile: PasswordFile?
        /// The REST endpoint, where ``wire`` is `.rest`.
        public var rest: REST?
        /// Most connections for exclusive use.
        public var maxConnections = 10
        public var sharedConnections = 1
        /// The longest wait for a reply.
        public var timeout: Duration = .seconds(5)
        public var connectTimeout: Duration = .seconds(5)
        /// Whether idempotent operations are tried again after a timeout; over REST, reads only.
        public var retryOnTimeout = true
        public var clientTracking: ClientTracking = .broadcast
        /// Nil means no TLS.
        public var tls: TLS?
        /// The nodes to begin with, or nil for no cluster.
        public var cluster: [HostAndPort]?
        public var sentinel: Sentinel?
        /// What every key begins with.
        public var keyPrefix = "holdfast:"

        public init() {}
    }
}

extension HoldfastConfiguration.Redis {
    public enum Wire: String, Sendable, Hashable, CaseIterable {
        case native, rest
    }

    /// How the server is asked to tell of changes to cached values.
    public enum ClientTracking: String, Sendable, Hashable, CaseIterable {
        /// Of all changes to the cache's keys.
        case broadcast
        /// Of changes to what was read.
        case reads
        case off
    }

    public enum Address: Sendable, Hashable, CustomStringConvertible {
        case tcp(host: String, port: Int)
        case unixSocket(path: String)

        public var description: String {
            switch self {
            case .tcp(let host, let port): HostAndPort(host: host, port: port).description
            case .unixSocket(let path): path
            }
        }
    }

    public struct REST: Sendable, Hashable {
        /// `https://…`, without a slash at its end.
        public var url: String
        public var token: Secret

        public init(url: String, token: Secret) {
            self.url = url
            self.token = token
        }
    }

    public struct TLS: Sendable, Hashable {
        public var certificateRequirements: CertificateRequirements = .required
        /// A PEM file of the authorities to trust, or nil for the system's.
        public var caFile: String?
        /// The client's certificate and key, PEM.
        public var certificateFile: String?
        public var keyFile: String?
        /// The name that the server's certificate bears, where it is not the host's.
        public var serverName: String?

        public init() {}
    }

    /// Python's `ssl_cert_reqs`.
    public enum CertificateRequirements: String, Sendable, Hashable, CaseIterable {
        case none, optional, required

        /// Whether the server's certificate is checked: for a client `optional` means the same as `required`.
        public var verifies: Bool { self != .none }
    }

    public struct Sentinel: Sendable, Hashable {
        public var nodes: [HostAndPort]
        /// The name under which the sentinels watch the server.
        public var master: String
        /// The sentinels' own credentials.
        public var username: String?
        public var password: Secret?

        public init(nodes: [HostAndPort], master: String, username: String? = nil, password: Secret? = nil) {
            self.nodes = nodes
            self.master = master
            self.username = username
            self.password = password
        }
    }
}

/// A TCP address by name.
public struct HostAndPort: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Whether only this machine reaches it.
    var isLoopback: Bool {
        guard host != "localhost", host != "::1" else { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        return parts.count == 4 && parts[0] == 127 && !parts.contains(nil)
    }

    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    init?(_ text: String, defaultPort: Int) {
        guard let (host, port) = Self.split(text), !host.isEmpty else { return nil }
        self.init(host: host, port: port ?? defaultPort)
    }

    /// Host and port of an authority; the host may be empty. Nil where the port is no port.
    static func split(_ text: String, ports: ClosedRange<Int> = 1...65535) -> (host: String, port: Int?)? {
        var host = Substring(text)
        var rest = Substring()
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            rest = text[colon...]
        }
        guard !host.contains(where: { $0.isWhitespace || "/@?#".contains($0) }) else { return nil }
        if rest.isEmpty || rest == ":" { return (String(host), nil) }
        guard let port = Int(rest.dropFirst()), ports.contains(port), rest.dropFirst().allSatisfy(\.isNumber) else {
            return nil
        }
        return (String(host), port)
    }
}
