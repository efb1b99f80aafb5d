/// Why an operation failed, and whether it may have happened all the same.
public struct StoreError: Error, Hashable, Sendable {
    /// What is known about the operation's effect.
    public enum Effect: String, Sendable, Hashable {
        /// Nothing was changed. Trying again is safe.
        case none
        /// The reply is missing: it may have happened. Only idempotent operations are safe to try again.
        case unknown
    }

    public let code: ErrorCode
    /// One line for people, at most ``maximumMessageLength`` characters. Holds no values and no secrets.
    public let message: String
    public let effect: Effect
    /// The command or procedure, such as `GET` or `lock.release@1`, where known.
    public let operation: String?
    /// The name of the argument or request field that is wrong, where the caller made the mistake.
    public let field: String?

    public static let maximumMessageLength = 300

    public init(
        _ code: ErrorCode, _ message: String? = nil, effect: Effect = .none, operation: String? = nil, field: String? = nil
    ) {
        self.code = code
        self.message = String((message ?? code.title).prefix(Self.maximumMessageLength))
        self.effect = effect
        self.operation = operation
        self.field = field
    }

    /// A value that the caller gave is not acceptable.
    public static func invalid(_ field: String, _ message: String) -> StoreError {
        StoreError(.invalidArgument, message, field: field)
    }

    /// The same error, where an earlier step or attempt may have had its effect.
    public func withUnknownEffect() -> StoreError {
        StoreError(code, message, effect: .unknown, operation: operation, field: field)
    }

    /// The same error with the operation's name, unless it has one.
    public func during(_ operation: String) -> StoreError {
        self.operation == nil
            ? StoreError(code, message, effect: effect, operation: operation, field: field) : self
    }
}

extension StoreError: CustomStringConvertible {
    public var description: String {
        var text = code.name
        if let operation { text += " in \(operation)" }
        if let field { text += " (\(field))" }
        text += ": \(message)"
        if effect == .unknown { text += " [may have happened]" }
        return text
    }
}

// MARK: - Errors that a server answered

extension StoreError {
    /// The error for a server's error line. A server that answers an error has not applied the command, except for scripts, which
    /// keep what they did before they failed (`scriptMayHaveRun`).
    public init(_ reply: ReplyError, operation: String? = nil, scriptMayHaveRun: Bool = false) {
        let missing = MissingPermission(reply)
        let code: ErrorCode =
            switch reply.prefix {
            case _ where missing != nil: .permissionMissing
            case "WRONGTYPE": .wrongType
            case "LOADING": .serverLoading
            case "READONLY", "NOREPLICAS": .serverReadOnly
            case "MASTERDOWN", "CLUSTERDOWN", "BUSY", "TRYAGAIN": .serverBusy
            case "MISCONF": .storageFailed
            case "OOM": .outOfMemory
            case "NOAUTH", "WRONGPASS", "NOPROTO": .serverRefused
            case "CROSSSLOT": .crossSlot
            case "ERR" where reply.line.hasPrefix("ERR unknown command"): .unknownCommand
            // As Upstash words it.
            case "ERR" where reply.line.hasPrefix("ERR Command is not available"): .unknownCommand
            case "ERR" where reply.line.hasPrefix("ERR max number of clients"): .serverBusy
            default: .commandFailed
            }
        // It goes on with the command's arguments, which may be a password or a value.
        let line = code == .unknownCommand ? reply.line.before(", with args") : reply.line
        let text = missing.map { "\($0.line). \($0.advice)" } ?? line
        self.init(code, text, effect: scriptMayHaveRun ? .unknown : .none, operation: operation)
    }

    /// Whether the call failed because the server is away or failing, so that trying again later can help: ``ErrorCode/unavailable`` where
    /// that was known beforehand, else what the call itself met (``isServerFailure``). ``effect`` says whether it may have happened.
    public var isOutage: Bool { code == .unavailable || isServerFailure }

    /// Whether the error tells about the server rather than about the call: what the breaker counts, and what an
    /// ``OutagePolicy`` answers to.
    public var isServerFailure: Bool {
        switch code {
        case .connectionFailed, .connectionLost, .timeout, .serverLoading, .serverReadOnly, .serverBusy, .protocolViolation: true
        case .outOfMemory, .storageFailed: true
        default: false
        }
    }
}

extension String {
    /// What stands before the first such text, or all of it.
    fileprivate func before(_ text: String) -> String {
        firstRange(of: text).map { String(self[..<$0.lowerBound]) } ?? self
    }
}
