/// A text that no log, error or `print` shows: passwords, tokens and keys of a configuration.
///
/// Read ``value`` only where the secret is used.
public struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public let value: String

    public init(_ value: String) { self.value = value }

    /// What stands in the secret's place.
    public static let redacted = "***"

    public var description: String { Self.redacted }
    public var debugDescription: String { Self.redacted }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
