public import HoldfastStore

/// A session as it was when it was read.
public struct Session: Hashable, Sendable {
    /// What a session is for. It decides the default lifetime and whether messages are kept.
    public enum Kind: String, Sendable, Hashable, CaseIterable, Codable {
        case user
        /// An agent's conversation: the last messages are kept (``Session/messages``), for twice the idle time of a user session.
        case conversation
        /// Temporary data of a workflow.
        case workflow
    }

    /// One message of a conversation.
    public struct Message: Hashable, Sendable {
        /// Its place in the conversation from its beginning, first 0. Numbers are never used twice.
        public let number: Int64
        /// Who said it: `user`, `assistant`, `system`, `tool`…
        public let role: String
        /// Mostly a string.
        public let content: JSONValue
        public let metadata: [String: JSONValue]
        /// When it was appended, by the store's clock.
        public let sent: Timestamp
    }

    public let id: SessionID
    public let userID: String
    public let workspaceID: String?
    public let kind: Kind
    /// What callers keep in it.
    public let data: [String: JSONValue]
    /// The last messages of a conversation, oldest first; empty for other kinds.
    public let messages: [Message]
    /// By the server's clock, as far as it is known to the process that made it.
    public let created: Timestamp
    /// The last read or change that was written down; see ``Sessions/Configuration/touchInterval``.
    public let lastAccessed: Timestamp
    /// When it ends unless it is used again. Never after ``ends``.
    public let expires: Timestamp
    /// When it ends in any case.
    public let ends: Timestamp
    /// How long it stays without being used.
    public let idleTTL: Duration
    /// Rises with every change; not with the sliding of ``expires`` by reads. An `ETag`.
    public let version: Int64
    public let clientAddress: String?
    public let userAgent: String?
    /// How long ago the server was asked, where this is the near copy of a server that is away; nil for an answer of the store.
    public internal(set) var staleAge: Duration?
    /// Who answered: the store, or this process because the server is away.
    public internal(set) var by: Decider = .server

    /// Whether this is a near copy: it may have been changed or ended elsewhere since.
    public var isStale: Bool { staleAge != nil }
}

/// A message to be appended to a conversation.
public struct NewSessionMessage: Hashable, Sendable {
    public var role: String
    public var content: JSONValue
    public var metadata: [String: JSONValue]

    public init(role: String, content: JSONValue, metadata: [String: JSONValue] = [:]) {
        self.role = role
        self.content = content
        self.metadata = metadata
    }
}

/// What must hold for a change to be made: compare-and-set by version, by field values, or both.
public struct SessionExpectation: Hashable, Sendable {
    /// The session's present version.
    public var version: Int64?
    /// Present values of data fields; a nil value stands for "there is no such field". Values are equal when their JSON is:
    /// `1` and `1.0` differ.
    public var fields: [String: JSONValue?]

    public init(version: Int64? = nil, fields: [String: JSONValue?] = [:]) {
        self.version = version
        self.fields = fields
    }

    /// Nothing: the last writer of a field wins.
    public static let none = SessionExpectation()
    public static func version(_ version: Int64) -> Self { Self(version: version) }
    public static func field(_ name: String, equals value: JSONValue) -> Self { Self(fields: [name: value]) }
    public static func noField(_ name: String) -> Self { Self(fields: [name: JSONValue?.none]) }
}
