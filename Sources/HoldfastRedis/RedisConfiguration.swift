/// How a ``RedisStore`` reaches its server and how patient it is.
public struct RedisConfiguration: Sendable {
    public enum Endpoint: Hashable, Sendable {
        case tcp(host: String, port: Int)
        case unixSocket(path: String)
        /// The primary that sentinels name: found anew for each connection, and followed when another is promoted.
        case sentinel(Sentinel)
        /// A cluster: each command goes to the node that serves its keys.
        case cluster(Cluster)
    }

    public enum ProtocolVersion: Int, Sendable {
        /// RESP2, for servers or proxies that do not speak RESP3 well.
        case resp2 = 2
        /// RESP3 where the server speaks it, RESP2 where it does not.
        case resp3 = 3
    }

    /// TLS towards a TCP endpoint.
    public struct TLS: Hashable, Sendable {
        public enum Verification: String, Hashable, Sendable {
            /// The certificate is not looked at: only against eavesdroppers.
            case none
            /// The same as ``required`` for a client, as in Python's `ssl`.
            case optional
            /// The certificate must be valid, trusted and of this host.
            case required
        }

        public var verification = Verification.required
        /// A PEM file of the authorities to trust in place of the system's.
        public var authorityFile: String?
        /// A PEM file with the client's certificate and its chain, for servers that ask for one.
        public var certificateFile: String?
        /// A PEM file with the key of ``certificateFile``.
        public var keyFile: String?
        /// The name that the server's certificate must bear, where it is not the endpoint's host.
        public var serverName: String?

        public init(
            verification: Verification = .required, authorityFile: String? = nil, certificateFile: String? = nil,
            keyFile: String? = nil, serverName: String? = nil
        ) {
            self.verification = verification
            self.authorityFile = authorityFile
            self.certificateFile = certificateFile
            self.keyFile = keyFile
            self.serverName = serverName
        }
    }

    /// How the server is asked to tell of changes, for those who keep copies (``HoldfastStore/ChangeTracking``).
    public enum ClientTracking: String, Sendable {
        /// It is not asked; copies live for their short time.
        case off
        /// Of all changes to keys with the prefixes (CLIENT TRACKING … BCAST), over one more connection. Costs the server no memory, and a
        /// message for each such change, whether or not there is a copy.
        case broadcast
        /// Of changes to keys that were read over the shared connections, each once. Costs the server memory for each such key, whoever read
        /// it and for what (`tracking-table-max-keys`). What was written here is no copy until it is read. For
        /// one cache of a store.
        case reads
    }

    public var endpoint: Endpoint
    public var tls: TLS?
    /// The ACL user; nil for the default user.
    public var username: String?
    /// Nil or empty for none.
    public var password: String?
    /// Asked for the credentials of each new connection, in place of ``username`` and ``password``: for passwords that change while the
    /// process runs. Whoever waits for the connection meanwhile does so until his own timeout. For connections that exist see
    /// ``RedisStore/reauthenticate()``.
    public var credentials: (@Sendable () async throws -> Credentials)?
    public var database: Int
    /// Shown in the server's CLIENT LIST. No spaces.
    public var clientName: String?
    public var protocolVersion = ProtocolVersion.resp3
    public var clientTracking = ClientTracking.broadcast

    /// How long a call waits for its reply, connecting included. The deadline of ``HoldfastStore/CallContext`` may be earlier.
    /// Timeouts are told up to 25 ms late: one coarse timer serves all calls of a connection.
    public var commandTimeout: Duration = .seconds(5)
    /// How long connecting may take: name resolution, TCP, TLS and the first words of the protocol together.
    public var connectTimeout: Duration = .seconds(5)
    /// Whether an operation is sent once more when its connection was lost or its reply did not come, where that is safe: it was
    /// provably not sent, or it is idempotent.
    public var retriesOnTimeout = true
    /// How long to leave a server alone that could not be reached.
    public var backoff = Backoff()

    /// How many calls may be outstanding on a connection, a batch being one; calls beyond fail at once with ``HoldfastStore/ErrorCode/overloaded``.
    public var maximumInFlight = 65_536
    /// How many bytes of commands may wait for the socket; calls beyond fail at once likewise. One command alone may be larger.
    public var maximumQueuedBytes = 128 << 20

    /// How many connections all calls share, 1 to 64, each on an event loop in its turn; on a cluster each node has one. One is fastest
    /// where calls are small, because those that wait together are sent together; more let large values pass each other. What was sent
    /// and is then given up may then be carried out after what the same caller sends next. ``ClientTracking/reads`` needs one.
    public var sharedConnections = 1
    /// How many connections callers may have for themselves at once (``RedisStore/withConnection(_:)``), besides the shared ones. Further
    /// callers wait.
    public var maximumConnections = 10
    /// How many callers may wait for a connection of their own; those beyond fail at once with
    /// ``HoldfastStore/ErrorCode/overloaded``.
    public var maximumWaitingForConnections = 10_000
    /// How long a connection for exclusive use is kept that nobody uses.
    public var idleTimeout: Duration = .seconds(60)
    /// How often a connection that is not used is asked whether its server is still there.
    public var keepAlive: Duration = .seconds(15)

    public init(
        endpoint: Endpoint = .tcp(host: "127.0.0.1", port: 6379), username: String? = nil, password: String? = nil,
        database: Int = 0, tls: TLS? = nil, clientName: String? = nil
    ) {
        self.endpoint = endpoint
        self.username = username
        self.password = password
        self.database = database
        self.tls = tls
        self.clientName = clientName
    }
}
