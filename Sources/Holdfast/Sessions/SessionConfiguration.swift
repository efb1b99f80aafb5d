extension Sessions {
    /// How long sessions stay and how large they may become.
    public struct Configuration: Sendable {
        public var storage: Storage
        /// How long a session stays without being used.
        public var idleTTL: Duration
        /// How long a session stays at most, however much it is used.
        public var absoluteTTL: Duration
        /// Other lifetimes for some kinds. Conversations stay twice ``idleTTL`` unless they are listed here.
        public var lifetimes: [Session.Kind: Lifetime]
        /// How many messages a conversation keeps.
        public var conversationWindow: Int
        /// Reads write the time of access down at most this often (and at least ten times in an idle TTL), to save writes: a
        /// session can end this much earlier after its last read than its idle TTL says. Zero writes at every read.
        public var touchInterval: Duration
        /// How often ``Sessions/run()`` cleans up.
        public var cleanupInterval: Duration
        public var limits: Limits
        public var nearCopies: NearCopies
        /// What becomes of calls while the configured server is away.
        public var outage: OutageBehavior

        public init(
            storage: Storage = .configured, idleTTL: Duration = .seconds(3600), absoluteTTL: Duration = .seconds(86_400),
            lifetimes: [Session.Kind: Lifetime] = [:], conversationWindow: Int = 20, touchInterval: Duration = .seconds(1),
            cleanupInterval: Duration = .seconds(300), limits: Limits = Limits(), nearCopies: NearCopies = NearCopies(),
            outage: OutageBehavior = .local
        ) {
            self.storage = storage
            self.idleTTL = idleTTL
            self.absoluteTTL = absoluteTTL
            self.lifetimes = lifetimes
            self.conversationWindow = conversationWindow
            self.touchInterval = touchInterval
            self.cleanupInterval = cleanupInterval
            self.limits = limits
            self.nearCopies = nearCopies
            self.outage = outage
        }

        /// The lifetime of new sessions of a kind.
        public func lifetime(of kind: Session.Kind) -> Lifetime {
            if let lifetime = lifetimes[kind] { return lifetime }
            let idle = kind == .conversation ? idleTTL * 2 : idleTTL
            return Lifetime(idle: idle, absolute: max(absoluteTTL, idle))
        }
    }

    /// Where sessions are kept.
    public enum Storage: String, Sendable, Hashable, CaseIterable, Codable {
        /// In the configured store: the server, where there is one.
        case configured
        /// In this process, also where a server is configured: they end with the process, no other one sees them, and no outage
        /// touches them.
        case memory
    }

    /// How long a session stays: unused, and at most.
    public struct Lifetime: Hashable, Sendable {
        public var idle: Duration
        public var absolute: Duration

        public init(idle: Duration, absolute: Duration) {
            self.idle = idle
            self.absolute = absolute
        }
    }

    /// What is refused.
    public struct Limits: Hashable, Sendable {
        /// Names and values of all data fields and messages of one session, as stored.
        public var bytes: Int
        /// Data fields of one session.
        public var fields: Int
        /// The name of a data field, in bytes.
        public var fieldNameBytes: Int
        /// The ids of users and workspaces, in bytes.
        public var identifierBytes: Int
        /// Client addresses and agents, in bytes.
        public var clientBytes: Int

        public init(
            bytes: Int = 256 * 1024, fields: Int = 256, fieldNameBytes: Int = 256, identifierBytes: Int = 512,
            clientBytes: Int = 1024
        ) {
            self.bytes = bytes
            self.fields = fields
            self.fieldNameBytes = fieldNameBytes
            self.identifierBytes = identifierBytes
            self.clientBytes = clientBytes
        }
    }

    /// The copies that answer while the server is away. Without a configured server none are kept.
    public struct NearCopies: Hashable, Sendable {
        /// How many sessions; the ones that were not used for longest go first.
        public var entries: Int
        /// About how much memory for all of them.
        public var bytes: Int
        /// How long after the server was last asked a copy may answer. Never beyond the session's own expiry.
        public var staleLimit: Duration

        public init(entries: Int = 10_000, bytes: Int = 16 * 1024 * 1024, staleLimit: Duration = .seconds(3600)) {
            self.entries = entries
            self.bytes = bytes
            self.staleLimit = staleLimit
        }
    }

    /// The longest TTL that is accepted.
    public static let maximumTTL: Duration = .seconds(366 * 86_400)
    /// How long the mark of a deletion stays at most: the longest outage after which a late writer may come back. A session that
    /// would have ended sooner by its absolute TTL needs its mark no longer than that.
    static let maximumTombstoneTTL: Duration = .seconds(7 * 86_400)
}
