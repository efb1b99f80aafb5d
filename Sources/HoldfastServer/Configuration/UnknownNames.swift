/// Warnings about names that look like settings and are none.
enum UnknownNames {
    /// Names of ours that are no settings: they belong to the command line.
    static let others: Set<String> = [
        "HOLDFAST_CONFIG", "HOLDFAST_URL", "HOLDFAST_API_KEY", "HOLDFAST_CA_FILE", "HOLDFAST_CORE",
    ]

    /// Prefixes under which every unknown name is suspect.
    private static let ownPrefixes = ["REDIS_", "HOLDFAST_", "UPSTASH_REDIS_", "RATE_LIMIT_", "CIRCUIT_BREAKER_"]
    /// Prefixes that other programs use as well (`SESSION_MANAGER`): suspect only when close to a known name.
    private static let sharedPrefixes = ["CACHE_", "SESSION_", "TOKEN_"]

    static func warnings(in sources: [ConfigurationSource]) -> [String] {
        sources.flatMap { source in source.names.sorted().compactMap { warning($0, in: source.kind) } }
    }

    private static func warning(_ name: String, in kind: SettingSource) -> String? {
        let known = kind == .file ? fileNames : variableNames
        guard !known.contains(name), !others.contains(name) else { return nil }
        let nearest = NearestName.of(name, among: known)
        let isOurs = kind == .file || ownPrefixes.contains { name.hasPrefix($0) }
        let isClose = nearest.map { NearestName.distance(name, $0) <= 3 } ?? false
        let mayBeOurs = isClose && sharedPrefixes.contains { name.hasPrefix($0) }
        guard isOurs || mayBeOurs else { return nil }
        let hint = nearest.map { ": did you mean \($0)?" } ?? ""
        return "\(name) (\(kind.label)) is no setting and is ignored\(hint)"
    }

    private static let variableNames = Set(Setting.all.flatMap(\.names))
    private static let fileNames = variableNames.union(variableNames.map(FileKey.path))
}
