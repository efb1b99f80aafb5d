import HoldfastStore

/// The name of one operation: doing it again under the same name has no second effect, also where the first reply was lost.
///
/// Services take it as `once:`. What an operation with a name leaves behind, so that it is known again, is written in the same atomic
/// step as its effect, beside what it changes; so there is no moment at which one is there without the other.
///
/// ```swift
/// let operation = OperationID.random()          // written down before the first try
/// try await sessions.append(messages, to: id, once: operation)
/// ```
public struct OperationID: Hashable, Sendable {
    let high: UInt64
    let low: UInt64
    /// How long the operation is known again, counted from its effect.
    public let retention: Duration

    /// - Parameters:
    ///   - high: 64 random bits, and as `low` 64 more: operations that share them are one.
    public init(high: UInt64, low: UInt64, retention: Duration = .seconds(24 * 3600)) {
        self.high = high
        self.low = low
        self.retention = max(.milliseconds(1), retention)
    }

    /// A fresh one, from the machine's source of secrets.
    public static func random(retention: Duration = .seconds(24 * 3600)) -> OperationID {
        var random = SystemRandomNumberGenerator()
        return OperationID(high: random.next(), low: random.next(), retention: retention)
    }

    /// The same name, known again for at least so long.
    func retained(for span: Duration) -> OperationID {
        OperationID(high: high, low: low, retention: max(retention, span))
    }

    /// The 32 digits that ``text`` writes; nil for anything else.
    init?(_ text: String, retention: Duration) {
        guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16), let low = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low, retention: retention)
    }

    var text: String { Self.digits(high) + Self.digits(low) }

    /// The retention as procedures take it.
    var retentionArgument: Bytes { Bytes(retention.milliseconds) }

    private static func digits(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
