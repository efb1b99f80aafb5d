import Configuration
import Foundation
import HoldfastStore

/// Where a value came from, strongest first.
public enum SettingSource: Int, Sendable, Hashable, CaseIterable, Comparable {
    case flag, environment, environmentFile, file, `default`

    public static func < (left: SettingSource, right: SettingSource) -> Bool { left.rawValue < right.rawValue }

    /// For tables: `flag`, `environment`, `.env`, `file` or `default`.
    public var label: String {
        switch self {
        case .flag: "flag"
        case .environment: "environment"
        case .environmentFile: ".env"
        case .file: "file"
        case .default: "default"
        }
    }
}

/// One place that values are read from: a provider of swift-configuration and the names that it was seen to hold.
struct ConfigurationSource: Sendable {
    let kind: SettingSource
    let provider: any ConfigProvider
    /// Every name in it, known or not; for files, the paths of the keys with dots.
    let names: Set<String>

    /// The text that stands for a name, or nil where it is not there or empty.
    func text(_ name: String) -> String? {
        for key in keys(of: name) {
            if let text = text(key), !text.isEmpty { return text }
        }
        return nil
    }

    /// A file may nest (`redis: {maxConnections: 20}`) or use the variables' names.
    private func keys(of name: String) -> [AbsoluteConfigKey] {
        kind == .file ? [FileKey.key(of: name), AbsoluteConfigKey([name])] : [AbsoluteConfigKey([name])]
    }

    /// Files hold numbers, truth values and lists as well as texts; the parsers of the settings all begin with a text.
    private func text(_ key: AbsoluteConfigKey) -> String? {
        for type in [ConfigType.string, .int, .double, .bool, .stringArray] {
            guard let value = try? provider.value(forKey: key, type: type).value else { continue }
            return switch value.content {
            case .string(let text): text
            case .int(let number): "\(number)"
            case .double(let number): "\(number)"
            case .bool(let flag): "\(flag)"
            case .stringArray(let texts): texts.joined(separator: ",")
            default: nil
            }
        }
        return nil
    }
}

/// How variables are called in a JSON or YAML file: `REDIS_MAX_CONNECTIONS` is `redis.maxConnections`.
enum FileKey {
    private static let groups = ["UPSTASH_REDIS", "RATE_LIMIT", "CIRCUIT_BREAKER"]

    static func key(of name: String) -> AbsoluteConfigKey {
        let group = groups.first { name.hasPrefix($0 + "_") } ?? String(name.prefix { $0 != "_" })
        return AbsoluteConfigKey([camelCase(group), camelCase(String(name.dropFirst(group.count + 1)))])
    }

    static func path(of name: String) -> String { key(of: name).components.joined(separator: ".") }

    private static func camelCase(_ name: String) -> String {
        let words = name.lowercased().split(separator: "_")
        return words.prefix(1).joined() + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }
}
