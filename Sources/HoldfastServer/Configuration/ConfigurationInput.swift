public import Foundation

/// Where a configuration is read from.
public struct ConfigurationInput: Sendable {
    /// What the command line set, by the settings' names: `["REDIS_URL": "redis://…"]`. See ``SettingFlags``.
    public var flags: [String: String] = [:]
    public var environment: [String: String] = [:]
    /// Where `.env` is looked for, and what relative paths start from.
    public var workingDirectory: URL
    /// The file of `--env-file`, which must exist; nil means `.env`, if there is one.
    public var environmentFile: String?
    /// The file of `--config`; nil means the one that HOLDFAST_CONFIG names.
    public var configurationFile: String?

    public init(
        flags: [String: String] = [:], environment: [String: String] = [:], workingDirectory: URL, environmentFile: String? = nil,
        configurationFile: String? = nil
    ) {
        self.flags = flags
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.environmentFile = environmentFile
        self.configurationFile = configurationFile
    }

    /// This process's environment and folder.
    public static func current(flags: SettingFlags = SettingFlags()) -> ConfigurationInput {
        ConfigurationInput(
            flags: flags.values, environment: ProcessInfo.processInfo.environment,
            workingDirectory: URL(filePath: FileManager.default.currentDirectoryPath, directoryHint: .isDirectory),
            environmentFile: flags.environmentFile, configurationFile: flags.configurationFile
        )
    }
}
