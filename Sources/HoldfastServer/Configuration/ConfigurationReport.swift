/// What `holdfast config` shows: every setting with its value, its source and, for programs, what it accepts. No secrets.
public struct ConfigurationReport: Sendable, Encodable {
    public struct Row: Sendable, Encodable {
        public let name: String
        public let names: [String]
        public let flags: [String]
        public let section: String
        public let value: String
        /// `flag`, `environment`, `.env`, `file` or `default`.
        public let source: String
        /// The name that it was set by.
        public let setBy: String?
        public let defaultValue: String
        public let accepted: String
        public let summary: String
        public let secret: Bool

        enum CodingKeys: String, CodingKey {
            case name, names, flags, section, value, source
            case setBy = "set_by"
            case defaultValue = "default"
            case accepted, summary, secret
        }
    }

    public let store: String
    /// Where what is decided while the server is away is kept for it; nil without a server.
    public let outbox: String?
    public let settings: [Row]
    public let warnings: [String]
    /// What is asked for that this version cannot do; `serve` refuses to start.
    public let refusals: [String]

    public init(_ loaded: LoadedConfiguration) {
        store = loaded.configuration.storeDescription
        outbox = loaded.configuration.placeOfOutbox
        settings = loaded.values.map(Row.init)
        warnings = loaded.warnings
        refusals = loaded.configuration.refusals
    }
}

extension ConfigurationReport.Row {
    init(_ value: LoadedConfiguration.Value) {
        let setting = value.setting
        self.init(
            name: setting.name, names: setting.names,
            flags: setting.names.flatMap(SettingFlags.flags).map { "--\($0)" }, section: setting.section.rawValue,
            value: value.shownText, source: value.source.label, setBy: value.source == .default ? nil : value.name,
            defaultValue: setting.defaultText, accepted: setting.accepted, summary: setting.summary, secret: setting.isSecret)
    }
}

extension Setting {
    /// The settings as flags, for `--help`.
    public static var flagHelp: String {
        Section.allCases.map { section in
            let rows = all.filter { $0.section == section }.map { setting in
                let flag = "--" + (SettingFlags.flags(of: setting.name).first ?? "")
                let standard = setting.defaultText == "(none)" ? "" : " [\(setting.defaultText.trimmingBrackets)]"
                // Two lines, because help is folded at 80 columns, which no row of one line would survive.
                return "  \(flag)\n      \(setting.summary)\(standard)"
            }
            return ([section.rawValue.uppercased()] + rows).joined(separator: "\n")
        }.joined(separator: "\n\n")
    }
}

extension String {
    fileprivate var trimmingBrackets: String { hasPrefix("(") && hasSuffix(")") ? String(dropFirst().dropLast()) : self }
}
