/// The settings that a command line gives, taken out of its arguments.
///
/// Every name of every setting is also a flag: `REDIS_URL` is `--redis-url`; `HOLDFAST_PORT` is `--holdfast-port` and `--port`. Forms:
/// `--redis-port 6380`, `--redis-port=6380`; switches also `--redis-ssl` and `--no-redis-ssl`. `--` ends them.
public struct SettingFlags: Sendable {
    /// By the settings' names, for ``ConfigurationInput/flags``.
    public private(set) var values: [String: String] = [:]
    public private(set) var configurationFile: String?
    public private(set) var environmentFile: String?
    /// The arguments that are no settings, in order.
    public private(set) var remaining: [String] = []

    public init() {}

    /// - Throws: ``ConfigurationError`` for a setting without its value, and for a flag that is nearly one of ours.
    public init(parsing arguments: [String]) throws(ConfigurationError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                remaining.append(argument)
                remaining += rest
                return
            }
            guard argument.hasPrefix("--"), try take(argument.dropFirst(2), &rest) else {
                remaining.append(argument)
                continue
            }
        }
    }

    private mutating func take(_ argument: Substring, _ rest: inout ArraySlice<String>) throws(ConfigurationError) -> Bool {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let flag = parts.first.map(String.init) ?? ""
        let attached = parts.count == 2 ? String(parts[1]) : nil
        if flag == "config" || flag == "env-file" {
            let path = try value(of: flag, attached, &rest)
            if flag == "config" { configurationFile = path } else { environmentFile = path }
            return true
        }
        if let name = Self.names[flag], let setting = Setting.byName[name] {
            values[name] = setting.isSwitch ? switchValue(attached, &rest) : try value(of: flag, attached, &rest)
            return true
        }
        if flag.hasPrefix("no-"), attached == nil, let name = Self.names[String(flag.dropFirst(3))],
            Setting.byName[name]?.isSwitch == true
        {
            values[name] = "false"
            return true
        }
        try refuseMistyped(flag)
        return false
    }

    private func value(
        of flag: String, _ attached: String?, _ rest: inout ArraySlice<String>
    ) throws(ConfigurationError) -> String {
        if let attached { return attached }
        guard let next = rest.first, !next.hasPrefix("--") else { throw ConfigurationError("--\(flag) needs a value") }
        rest.removeFirst()
        return next
    }

    /// A switch takes the next argument only where that is a truth value.
    private func switchValue(_ attached: String?, _ rest: inout ArraySlice<String>) -> String {
        if let attached { return attached }
        guard let next = rest.first, SettingKind.boolean.parse(next) != nil else { return "true" }
        rest.removeFirst()
        return next
    }

    /// An unknown flag that begins like a setting is not left to the commands, which could only say that they do not know it.
    private func refuseMistyped(_ flag: String) throws(ConfigurationError) {
        let prefixes = ["redis-", "upstash-", "holdfast-", "rate-limit-", "circuit-breaker-", "session-", "token-", "cache-"]
        guard prefixes.contains(where: flag.hasPrefix) else { return }
        let hint = NearestName.of(flag, among: Self.names.keys).map { ": did you mean --\($0)?" } ?? ""
        throw ConfigurationError("--\(flag) is no setting\(hint)")
    }

    /// The flags of a name, the one that is shown first.
    public static func flags(of name: String) -> [String] {
        let full = name.lowercased().replacing("_", with: "-")
        return full.hasPrefix("holdfast-") ? [String(full.dropFirst("holdfast-".count)), full] : [full]
    }

    private static let names: [String: String] = {
        var names: [String: String] = [:]
        for setting in Setting.all {
            for name in setting.names {
                for flag in flags(of: name) { names[flag] = name }
            }
        }
        return names
    }()
}
