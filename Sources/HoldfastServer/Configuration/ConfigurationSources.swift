import Configuration
import Foundation
import HoldfastStore

/// All places that a configuration is read from, strongest first, opened.
struct ConfigurationSources: Sendable {
    private(set) var sources: [ConfigurationSource] = []
    private(set) var warnings: [String] = []

    /// - Throws: ``ConfigurationError`` for a named file that is missing or cannot be read.
    init(_ input: ConfigurationInput) async throws(ConfigurationError) {
        addFlags(input.flags)
        let environment = Self.withoutServiceLinks(input.environment)
        add(.environment, environment)
        let fromFile = try readEnvironmentFile(input)
        add(.environmentFile, fromFile)
        // An empty variable is unset, here as everywhere.
        let named = [input.configurationFile, environment[Self.fileVariable], fromFile[Self.fileVariable]]
        if let path = named.compactMap(\.self).first(where: { !$0.isEmpty }) {
            sources.append(try await Self.openFile(URL(filePath: path, relativeTo: input.workingDirectory).path))
        }
    }

    /// The strongest source's text for a name that is no setting of the server.
    func text(_ name: String) -> String? { sources.lazy.compactMap { $0.text(name) }.first }

    static let fileVariable = "HOLDFAST_CONFIG"

    private mutating func addFlags(_ flags: [String: String]) {
        let values = flags.map { (AbsoluteConfigKey([$0.key]), ConfigValue(.string($0.value), isSecret: false)) }
        let provider = InMemoryProvider(name: "flags", values: Dictionary(uniqueKeysWithValues: values))
        sources.append(ConfigurationSource(kind: .flag, provider: provider, names: Set(flags.keys)))
    }

    private mutating func add(_ kind: SettingSource, _ variables: [String: String]) {
        let provider = EnvironmentVariablesProvider(environmentVariables: variables)
        sources.append(ConfigurationSource(kind: kind, provider: provider, names: Set(variables.keys)))
    }

    /// Kubernetes sets `REDIS_PORT=tcp://10.0.0.7:6379` for a Service named "redis": not a setting of ours.
    private static func withoutServiceLinks(_ environment: [String: String]) -> [String: String] {
        guard environment["KUBERNETES_SERVICE_HOST"] != nil else { return environment }
        return environment.filter { name, value in
            let isLink = name.hasSuffix("_PORT") && (value.hasPrefix("tcp://") || value.hasPrefix("udp://"))
            return !isLink && !name.contains("_SERVICE_") && !name.contains("_PORT_")
        }
    }

    // MARK: - Files

    private mutating func readEnvironmentFile(_ input: ConfigurationInput) throws(ConfigurationError) -> [String: String] {
        let name = input.environmentFile ?? ".env"
        let path = URL(filePath: name, relativeTo: input.workingDirectory).path
        if input.environmentFile == nil, !FileManager.default.fileExists(atPath: path) { return [:] }
        guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
            throw ConfigurationError("\(name) cannot be read: it is missing, not readable, or not UTF-8")
        }
        let file = EnvironmentFile(text)
        if let line = file.brokenLines.first { throw ConfigurationError("\(name), line \(line): the quote is not closed") }
        warnings += file.strayLines.map { "\(name), line \($0) is no NAME=value and is ignored" }
        return file.values
    }

    private static func openFile(_ path: String) async throws(ConfigurationError) -> ConfigurationSource {
        let names = Locked<Set<String>>([])
        let reader = ConfigReader(provider: InMemoryProvider(values: ["filePath": ConfigValue(.string(path), isSecret: false)]))
        do {
            let provider: any ConfigProvider
            switch URL(filePath: path).pathExtension.lowercased() {
            case "json":
                // The question about secrets is asked for every key of the file, which is how unknown ones are found.
                let options = JSONSnapshot.ParsingOptions(secretsSpecifier: .dynamic { key, _ in names.insert(key) })
                provider = try await FileProvider<JSONSnapshot>(parsingOptions: options, config: reader)
            case "yaml", "yml":
                let options = YAMLSnapshot.ParsingOptions(secretsSpecifier: .dynamic { key, _ in names.insert(key) })
                provider = try await FileProvider<YAMLSnapshot>(parsingOptions: options, config: reader)
            default:
                throw ConfigurationError("\(path) is no configuration file: accepted is .json, .yaml or .yml")
            }
            return ConfigurationSource(kind: .file, provider: provider, names: names.withLock(\.self))
        } catch let error as ConfigurationError {
            throw error
        } catch {
            let reason = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
            throw ConfigurationError("\(path) cannot be read: \(reason.prefix(200))")
        }
    }
}

extension Locked<Set<String>> {
    /// Always true: what is read from a file is kept from logs.
    fileprivate func insert(_ key: String) -> Bool {
        withLock { _ = $0.insert(key) }
        return true
    }
}
