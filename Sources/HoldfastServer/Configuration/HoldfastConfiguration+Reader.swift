/// A configuration with where each of its values came from.
public struct LoadedConfiguration: Sendable {
    /// One setting as it was found.
    public struct Value: Sendable {
        public let setting: Setting
        public let source: SettingSource
        /// The name that it was found under; the setting's first where it is the default.
        public let name: String
        /// The value, or the default, with secrets redacted.
        public let shownText: String
    }

    public var configuration: HoldfastConfiguration
    /// Every setting, in the table's order.
    public var values: [Value]
    /// One line each: unknown names, settings that have no effect.
    public var warnings: [String]
    /// HOLDFAST_URL: where the command line finds a running server, if said.
    public var clientURL: String?
    /// HOLDFAST_API_KEY: what the command line calls it with, if said.
    public var clientKey: Secret?
    /// HOLDFAST_CA_FILE: the authorities that the command line trusts instead of the system's, if said.
    public var clientAuthorityFile: String?
}

extension HoldfastConfiguration {
    /// Reads every setting: flags before environment before `.env` before the file.
    ///
    /// - Throws: ``ConfigurationError`` with one line for every value that is not acceptable, for two names of one setting that
    ///   disagree within one source, and for a file that cannot be read.
    public static func load(_ input: ConfigurationInput) async throws(ConfigurationError) -> LoadedConfiguration {
        let sources = try await ConfigurationSources(input)
        var reader = SettingsReader(sources: sources.sources)
        reader.readAll()
        var resolution = ConnectionResolution(reader.draft.connection, sources: reader.sourceOfName)
        if reader.problems.isEmpty { resolution.resolve(into: &reader.draft.configuration.redis) }
        let problems = reader.problems + resolution.problems
        guard problems.isEmpty else { throw ConfigurationError(problems) }
        return LoadedConfiguration(
            configuration: reader.draft.configuration, values: reader.values,
            warnings: sources.warnings + UnknownNames.warnings(in: sources.sources) + resolution.warnings
                + reader.draft.configuration.limitations,
            clientURL: sources.text("HOLDFAST_URL"), clientKey: sources.text("HOLDFAST_API_KEY").map { Secret($0) },
            clientAuthorityFile: sources.text("HOLDFAST_CA_FILE")
        )
    }
}

/// Walks the table over the sources.
struct SettingsReader: Sendable {
    let sources: [ConfigurationSource]
    private(set) var values: [LoadedConfiguration.Value] = []
    private(set) var problems: [String] = []
    var draft = SettingsDraft()

    init(sources: [ConfigurationSource]) { self.sources = sources }

    /// The source of each setting that is set, by its first name.
    var sourceOfName: [String: SettingSource] {
        var found: [String: SettingSource] = [:]
        for value in values where value.source != .default { found[value.setting.name] = value.source }
        return found
    }

    mutating func readAll() {
        for setting in Setting.all { values.append(read(setting)) }
    }

    private mutating func read(_ setting: Setting) -> LoadedConfiguration.Value {
        var chosen: LoadedConfiguration.Value?
        for source in sources {
            // Weaker sources are checked too: a bad value is a mistake even where it has no effect today.
            guard let (name, reading) = read(setting, from: source), chosen == nil else { continue }
            reading.store(&draft)
            chosen = LoadedConfiguration.Value(
                setting: setting, source: source.kind, name: name, shownText: setting.redact(reading.text))
        }
        return chosen
            ?? LoadedConfiguration.Value(
                setting: setting, source: .default, name: setting.name, shownText: setting.defaultText)
    }

    /// The value under any of the setting's names, which must agree where several are given.
    private mutating func read(_ setting: Setting, from source: ConfigurationSource) -> (name: String, Setting.Reading)? {
        var found: (name: String, reading: Setting.Reading)?
        for name in setting.names {
            guard let text = source.text(name).map({ setting.isSecret ? $0 : $0.trimmed }), !text.isEmpty else { continue }
            guard let reading = setting.read(text) else {
                problems.append("\(name)=\(shown(text, setting)) (\(source.kind.label)): accepted is \(setting.accepted)")
                continue
            }
            if let found, found.reading.text != reading.text {
                let first = "\(found.name)=\(shown(found.reading.text, setting))"
                problems.append(
                    "\(first) and \(name)=\(shown(text, setting)) (\(source.kind.label)) are names of one setting and disagree: "
                        + "set only one of them")
            }
            found = found ?? (name, reading)
        }
        return found.map { ($0.name, $0.reading) }
    }

    /// The text without secrets, on one line, of bearable length.
    private func shown(_ text: String, _ setting: Setting) -> String {
        let line = setting.redact(text).map { $0.isNewline ? " " : $0 }
        return line.count > 120 ? String(line.prefix(120)) + "…" : String(line)
    }
}
