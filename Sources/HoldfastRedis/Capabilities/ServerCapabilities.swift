/// What a server says that it is and can do: asked of it, never concluded from a version.
public struct ServerCapabilities: Hashable, Sendable {
    public enum Product: String, Hashable, Sendable {
        case redis = "Redis"
        case valkey = "Valkey"
    }

    /// What not every server that Holdfast runs on has.
    public enum Feature: String, Hashable, Sendable, CaseIterable {
        case clientTracking = "CLIENT TRACKING"
        case clientInfo = "CLIENT SETINFO"
        case shardedPubSub = "SSUBSCRIBE"
        case functions = "FUNCTION"
        /// Scripts that begin with `#!lua flags=…`: a full or read-only server refuses them before they run.
        case scriptFlags = "Lua flags"
        case hashFieldExpiry = "HEXPIRE"
        case waitForDisk = "WAITAOF"
        case streamAcknowledgeAndDelete = "XACKDEL"
        case conditionalDelete = "DELEX"
    }

    public var product = Product.redis
    /// Such as `7.0.15`; empty where the server does not say.
    public var version = ""
    /// `standalone`, `cluster` or `sentinel`, in the server's own word.
    public var mode = ""
    /// Whether the connections speak RESP3.
    public var speaksRESP3 = false
    /// The names of the modules that are loaded, in order.
    public var modules: [String] = []
    public var features: Set<Feature> = []
    /// The commands by which it is asked that the user may not call: what they would tell is missing here.
    public var refusedQuestions: Set<String> = []

    public init() {}

    /// What both can do: for the nodes of a cluster. The older version counts.
    func and(_ other: ServerCapabilities) -> ServerCapabilities {
        var both = Self.numbers(other.version).lexicographicallyPrecedes(Self.numbers(version)) ? other : self
        both.speaksRESP3 = speaksRESP3 && other.speaksRESP3
        both.modules = modules.filter(other.modules.contains)
        both.features = features.intersection(other.features)
        both.refusedQuestions = refusedQuestions.union(other.refusedQuestions)
        return both
    }

    private static func numbers(_ version: String) -> [Int] { version.split(separator: ".").compactMap { Int($0) } }
}
