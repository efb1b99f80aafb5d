/// One figure or probe of a health report.
public struct HealthCheck: Sendable, Hashable {
    public enum Level: String, Sendable, Hashable { case ok, warning, critical }

    /// Such as `ping` or `memory`.
    public let name: String
    public let level: Level
    /// Nil where the probe failed or the store does not tell.
    public let value: Double?
    /// `ms`, `ratio`, `clients`, or empty.
    public let unit: String
    public let thresholds: HealthThreshold?
    /// What went wrong, in one line; nil where nothing did.
    public let message: String?

    public init(
        _ name: String, _ level: Level, value: Double? = nil, unit: String = "", thresholds: HealthThreshold? = nil,
        message: String? = nil
    ) {
        self.name = name
        self.level = level
        self.value = value
        self.unit = unit
        self.thresholds = thresholds
        self.message = message
    }

    /// A figure held against its thresholds.
    init(_ name: String, _ value: Double, unit: String, _ thresholds: HealthThreshold) {
        self.init(name, thresholds.level(of: value), value: value, unit: unit, thresholds: thresholds)
    }
}

/// From where on a figure is worth a warning, and from where on it is critical.
public struct HealthThreshold: Sendable, Hashable {
    public let warning: Double
    public let critical: Double

    /// Where `critical` is below `warning`, small figures are the bad ones.
    public init(warning: Double, critical: Double) {
        self.warning = warning
        self.critical = critical
    }

    public func level(of value: Double) -> HealthCheck.Level {
        let isSmallBad = critical < warning
        if isSmallBad ? value < critical : value >= critical { return .critical }
        if isSmallBad ? value < warning : value >= warning { return .warning }
        return .ok
    }
}

extension HealthThreshold {
    public static let ping = HealthThreshold(warning: 50, critical: 100)
    public static let command = HealthThreshold(warning: 10, critical: 50)
    public static let memory = HealthThreshold(warning: 0.80, critical: 0.95)
    public static let fragmentation = HealthThreshold(warning: 1.5, critical: 2.5)
    public static let hitRate = HealthThreshold(warning: 0.8, critical: 0.6)
    public static let clients = HealthThreshold(warning: 0.8, critical: 0.95)
    public static let blockedClients = HealthThreshold(warning: 10, critical: 50)
}
