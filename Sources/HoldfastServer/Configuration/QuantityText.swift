/// Durations as people write them: `5`, `5.0` (seconds), `500ms`, `5s`, `2m`, `1h`, `7d`.
enum DurationText {
    /// The services' own limit for a time to live, in seconds: a leap year.
    static let longest: Double = 366 * 86_400

    static func parse(_ text: String) -> Duration? {
        guard let (number, unit) = QuantityText.split(text) else { return nil }
        let secondsPerUnit: Double? =
            switch unit {
            case "", "s", "sec": 1
            case "ms": 0.001
            case "m", "min": 60
            case "h": 3600
            case "d": 86_400
            default: nil
            }
        guard let secondsPerUnit, number * secondsPerUnit <= longest else { return nil }
        return .milliseconds(Int64((number * secondsPerUnit * 1000).rounded()))
    }

    /// Seconds, or milliseconds where it is no whole number of them.
    static func format(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        return attoseconds == 0 ? "\(seconds)s" : "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000)ms"
    }
}

/// Sizes as Redis reads them: bytes, or with `k`, `m`, `g` (powers of 1000) and `kb`, `mb`, `gb` (powers of 1024).
enum SizeText {
    private static let units: [(name: String, bytes: Int)] = [
        ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("g", 1_000_000_000), ("m", 1_000_000), ("k", 1000), ("b", 1), ("", 1),
    ]

    static func parse(_ text: String) -> Int? {
        guard let (number, unit) = QuantityText.split(text.lowercased()) else { return nil }
        guard let bytes = units.first(where: { $0.name == unit })?.bytes else { return nil }
        let size = number * Double(bytes)
        guard size == size.rounded(), size <= Double(1 << 53) else { return nil }
        return Int(size)
    }

    static func format(_ bytes: Int) -> String {
        for unit in units.prefix(3) where bytes >= unit.bytes && bytes % unit.bytes == 0 {
            return "\(bytes / unit.bytes)\(unit.name)"
        }
        return "\(bytes)"
    }
}

enum QuantityText {
    /// A number without sign or exponent, and the letters after it.
    static func split(_ text: String) -> (number: Double, unit: String)? {
        let digits = text.prefix { ("0"..."9").contains($0) || $0 == "." }
        guard digits.first != ".", digits.last != ".", let number = Double(digits) else { return nil }
        let unit = text[digits.endIndex...].drop { $0 == " " }
        return (number, String(unit))
    }
}

/// The settings' notations, for the command line's own options.
public enum SettingText {
    /// The seconds of a duration such as `5`, `500ms` or `2m`; nil where it is none.
    public static func seconds(_ text: String) -> Double? {
        DurationText.parse(text).map { Double($0.components.seconds) + Double($0.components.attoseconds) / 1e18 }
    }
}
