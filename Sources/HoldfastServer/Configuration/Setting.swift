/// One row of the table of settings: its names, what it accepts, and where its value goes.
///
/// The table (``all``) is the only place that names a setting. Reading, checking, `--help`, `holdfast config`, the warnings about
/// unknown names and the test that walks the documentation all follow from it.
public struct Setting: Sendable {
    public enum Section: String, Sendable, CaseIterable {
        case redis = "Redis"
        case tls = "TLS"
        case topology = "Cluster and Sentinel"
        case memory = "Keys and memory"
        case limits = "Rate limits"
        case breaker = "Circuit breaker"
        case sessions = "Sessions"
        case server = "Server"
    }

    /// Every name it is known by; the first is the one that is shown.
    public let names: [String]
    public let section: Section
    public let summary: String
    /// Completes "accepted is …".
    public let accepted: String
    /// The default as text, or words in brackets where there is none.
    public let defaultText: String
    /// Whether its value is never shown.
    public let isSecret: Bool
    /// Whether it is true or false, so that its flag needs no value.
    public let isSwitch: Bool
    /// Reads a text; nil where it is not accepted.
    let read: @Sendable (String) -> Reading?
    /// What may be shown of a text, be it valid or not.
    let redact: @Sendable (String) -> String

    struct Reading: Sendable {
        /// The value in its normal form.
        let text: String
        let store: @Sendable (inout SettingsDraft) -> Void
    }

    public var name: String { names[0] }
}

extension Setting {
    init<Value: Sendable>(
        _ names: String..., in section: Section, _ kind: SettingKind<Value>,
        _ path: any WritableKeyPath<SettingsDraft, Value> & Sendable, _ summary: String
    ) {
        self.init(
            names: names, section: section, kind: kind, summary: summary,
            defaultText: kind.format(SettingsDraft()[keyPath: path])
        ) { value, draft in draft[keyPath: path] = value }
    }

    init<Value: Sendable>(
        _ names: String..., in section: Section, _ kind: SettingKind<Value>, default defaultText: String = "(none)",
        _ path: any WritableKeyPath<SettingsDraft, Value?> & Sendable, _ summary: String
    ) {
        self.init(names: names, section: section, kind: kind, summary: summary, defaultText: defaultText) { value, draft in
            draft[keyPath: path] = value
        }
    }

    private init<Value: Sendable>(
        names: [String], section: Section, kind: SettingKind<Value>, summary: String, defaultText: String,
        store: @escaping @Sendable (Value, inout SettingsDraft) -> Void
    ) {
        self.names = names
        self.section = section
        self.summary = summary
        self.defaultText = defaultText
        accepted = kind.accepted
        isSecret = kind.isSecret
        isSwitch = kind.isSwitch
        redact = kind.redact
        read = { text in
            kind.parse(text).map { value in Reading(text: kind.format(value)) { draft in store(value, &draft) } }
        }
    }
}

/// A configuration while it is read: what goes straight in, and what is weighed afterwards.
struct SettingsDraft: Sendable {
    var configuration = HoldfastConfiguration()
    var connection = ConnectionSettings()
}

/// What was said about the connection, before URLs and single variables are put together.
struct ConnectionSettings: Sendable {
    var isEnabled: Bool?
    var wire: HoldfastConfiguration.Redis.Wire?
    var upstashURL: Written<ConnectionURL>?
    var url: Written<ConnectionURL>?
    var host: String?
    var port: Int?
    var database: Int?
    var username: String?
    var password: Secret?
    var passwordFile: String?
    var restURL: String?
    var restToken: Secret?
    var usesTLS: Bool?
    var certificateRequirements: HoldfastConfiguration.Redis.CertificateRequirements?
    var caFile: String?
    var certificateFile: String?
    var keyFile: String?
    var serverName: String?
    var clusterIsEnabled: Bool?
    var clusterNodes: [HostAndPort]?
    var sentinels: [HostAndPort]?
    var sentinelMaster: String?
    var sentinelUsername: String?
    var sentinelPassword: Secret?
}
