/// What kind of failure an error is. The set is open: later versions add codes, so a `switch` over them needs a default.
///
/// All codes of Holdfast stand in this file, because each is also a stable problem type of the HTTP API
/// (``problemType``, RFC 9457) and a value of the `code` label in metrics.
public struct ErrorCode: Hashable, Sendable, CustomStringConvertible {
    public let name: String
    /// A short sentence for people, without details of the case.
    public let title: String

    init(_ name: String, _ title: String) {
        self.name = name
        self.title = title
    }

    public static func == (left: ErrorCode, right: ErrorCode) -> Bool { left.name == right.name }
    public func hash(into hasher: inout Hasher) { hasher.combine(name) }
    public var description: String { name }

    /// The URI of this kind of problem. It never changes once released.
    public var problemType: String { "urn:holdfast:problem:\(name)" }
}

// MARK: - The caller's mistakes

extension ErrorCode {
    public static let invalidArgument = ErrorCode("invalid-argument", "A value is not acceptable")
    public static let tooLarge = ErrorCode("too-large", "A value is larger than its limit")
    public static let wrongType = ErrorCode("wrong-type", "The key holds another kind of value")
    public static let commandFailed = ErrorCode("command-failed", "The store refused the command")
    public static let unknownCommand = ErrorCode("unknown-command", "This store does not know the command")
    public static let crossSlot = ErrorCode("cross-slot", "The keys of one atomic operation lie in different slots")
    public static let wrongTenant = ErrorCode("wrong-tenant", "The key belongs to another tenant")
    public static let notFound = ErrorCode("not-found", "There is no such thing")
    public static let conflict = ErrorCode("conflict", "It was changed by someone else meanwhile")
    public static let decodingFailed = ErrorCode("decoding-failed", "The stored value is of another type than the one asked for")
    public static let unsupportedFormat = ErrorCode("unsupported-format", "The stored value was written by a newer version")
    public static let idempotencyMismatch = ErrorCode(
        "idempotency-mismatch", "The idempotency key was used for another request")
    public static let inProgress = ErrorCode("in-progress", "A request with this idempotency key is still running")
    public static let preconditionFailed = ErrorCode("precondition-failed", "The version asked for is not the current one")
    public static let rateLimited = ErrorCode("rate-limited", "The rate limit is exhausted")
    public static let unauthenticated = ErrorCode("unauthenticated", "A valid API key is needed")
    public static let forbidden = ErrorCode("forbidden", "The API key's role does not allow this")
    public static let methodNotAllowed = ErrorCode("method-not-allowed", "The resource does not know this method")
    public static let unsupportedMediaType = ErrorCode("unsupported-media-type", "The body is of a kind that is not read here")
    public static let malformedRequest = ErrorCode("malformed-request", "What was sent is no valid request")
    public static let methodNotImplemented = ErrorCode("method-not-implemented", "No resource knows this method")
    public static let requestTimeout = ErrorCode("request-timeout", "The request did not arrive in time")
}

// MARK: - The server's state

extension ErrorCode {
    public static let connectionFailed = ErrorCode("connection-failed", "The server cannot be reached")
    public static let connectionLost = ErrorCode("connection-lost", "The connection was lost before the reply")
    public static let timeout = ErrorCode("timeout", "No reply came in time")
    public static let serverLoading = ErrorCode("server-loading", "The server is loading its data")
    public static let serverReadOnly = ErrorCode("server-read-only", "The server accepts no writes")
    public static let serverBusy = ErrorCode("server-busy", "The server cannot take the command now")
    public static let outOfMemory = ErrorCode("out-of-memory", "The store has reached its memory limit")
    public static let serverRefused = ErrorCode("server-refused", "The server refused the credentials")
    /// Of one command, key or channel, by a server that otherwise lets us in.
    public static let permissionMissing = ErrorCode("permission-missing", "The server's user may not do this")
    public static let protocolViolation = ErrorCode("protocol-violation", "The server's answer is no valid RESP")
    public static let unexpectedReply = ErrorCode("unexpected-reply", "The server's answer has another shape than expected")
    /// The feature cannot know or must not decide while the configured server is away.
    public static let unavailable = ErrorCode("unavailable", "The configured server is away")
}

// MARK: - This process's state

extension ErrorCode {
    public static let overloaded = ErrorCode("overloaded", "Too much is waiting already")
    public static let deadlineExceeded = ErrorCode("deadline-exceeded", "The caller's deadline has passed")
    /// So much waits for the server to be back that no more is accepted.
    public static let outboxFull = ErrorCode("outbox-full", "Too much waits for the server already")
    public static let tooOld = ErrorCode("too-old", "It waited for longer than its effect can be known")
    public static let cancelled = ErrorCode("cancelled", "The caller gave up")
    public static let shuttingDown = ErrorCode("shutting-down", "This process is ending")
    /// The data folder cannot be written: what must be durable is refused, reads go on.
    public static let storageFailed = ErrorCode("storage-failed", "The data folder cannot be written")
    public static let folderInUse = ErrorCode("folder-in-use", "Another process uses the data folder")
    public static let dataUnreadable = ErrorCode("data-unreadable", "The data folder holds what this version cannot read")
    public static let internalError = ErrorCode("internal-error", "Something went wrong here")
}

extension ErrorCode {
    /// Every code, for documents and for the test that keeps names unique.
    public static let all: [ErrorCode] = [
        .invalidArgument, .tooLarge, .wrongType, .commandFailed, .unknownCommand, .crossSlot, .wrongTenant, .notFound, .conflict,
        .decodingFailed, .unsupportedFormat, .idempotencyMismatch, .inProgress, .preconditionFailed, .rateLimited,
        .unauthenticated, .forbidden, .methodNotAllowed, .unsupportedMediaType, .malformedRequest, .methodNotImplemented,
        .requestTimeout,
        .connectionFailed, .connectionLost, .timeout, .serverLoading, .serverReadOnly, .serverBusy, .outOfMemory, .serverRefused,
        .permissionMissing, .protocolViolation, .unexpectedReply, .unavailable,
        .overloaded, .outboxFull, .tooOld, .deadlineExceeded, .cancelled, .shuttingDown, .storageFailed, .folderInUse,
        .dataUnreadable, .internalError,
    ]
}
