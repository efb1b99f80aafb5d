import HTTPTypes
import HoldfastStore

// Which status each kind of failure has over HTTP. The only place that knows.

extension ErrorCode {
    /// The status of answers with this code.
    var status: HTTPResponse.Status {
        switch self {
        case .invalidArgument, .crossSlot, .unknownCommand, .malformedRequest: .badRequest
        case .unauthenticated: .unauthorized
        case .forbidden, .wrongTenant: .forbidden
        case .notFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .methodNotImplemented: .notImplemented
        case .requestTimeout: .requestTimeout
        case .wrongType, .decodingFailed, .unsupportedFormat, .conflict, .inProgress, .tooOld: .conflict
        case .preconditionFailed: .preconditionFailed
        case .tooLarge: .contentTooLarge
        case .unsupportedMediaType: .unsupportedMediaType
        case .idempotencyMismatch, .commandFailed: .unprocessableContent
        case .rateLimited: .tooManyRequests
        // The caller's own deadline; the store's is the server's failure, below.
        case .deadlineExceeded: .gatewayTimeout
        case .cancelled, .shuttingDown, .overloaded, .unavailable, .connectionFailed, .connectionLost, .timeout,
            .serverLoading, .serverReadOnly, .serverBusy, .serverRefused, .permissionMissing, .outOfMemory,
            .outboxFull, .storageFailed:
            .serviceUnavailable
        // The server's answer makes no sense to us: a fault, not a state that passes by itself.
        case .protocolViolation, .unexpectedReply: .badGateway
        default: .internalServerError
        }
    }

    /// After how many seconds trying again is sensible; nil where waiting does not help or nobody can say.
    var retryAfterSeconds: Int? {
        switch self {
        case .unavailable, .connectionFailed, .connectionLost, .timeout, .serverLoading, .serverReadOnly, .serverBusy,
            .overloaded:
            1
        case .shuttingDown, .inProgress: 1
        case .outOfMemory, .outboxFull, .storageFailed: 5
        default: nil
        }
    }
}
