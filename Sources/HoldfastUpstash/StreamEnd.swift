import HoldfastStore

/// Why a stream of events is over, and with it whether another attempt makes sense.
enum StreamEnd: Error {
    /// The connection broke, nothing came for too long, or the endpoint cannot serve now.
    case lost(StoreError)
    /// The endpoint will say the same again: to the token (401, 403), the request (400), or the address (404, 405, a redirect).
    case refused(StoreError)

    init(status: UInt, _ failure: StoreError) {
        let passes =
            switch status {
            case 408, 429, 500...599: true
            // The status of a command's own error, such as LOADING.
            case 400: failure.isServerFailure && failure.code != .protocolViolation
            default: false
            }
        self = passes ? .lost(failure) : .refused(failure)
    }

    var failure: StoreError {
        switch self {
        case .lost(let failure), .refused(let failure): failure
        }
    }
}
