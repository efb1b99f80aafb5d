import AsyncHTTPClient
import HoldfastStore
import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What a failed request means for its caller: the code, and whether it may have been carried out.
enum RESTFailure {
    /// No answer came.
    static func error(_ error: any Error, isCallersDeadline: Bool) -> StoreError {
        if let error = error as? StoreError { return error }
        if error is TimedOut { return StoreError(isCallersDeadline ? .deadlineExceeded : .timeout, effect: .unknown) }
        if error is CancellationError { return StoreError(.cancelled, effect: .unknown) }
        if error is NIOConnectionError { return StoreError(.connectionFailed, "No connection: \(reason(error))") }
        // Only connecting is refused; what breaks later is reset.
        if let error = error as? IOError, error.errnoCode == ECONNREFUSED {
            return StoreError(.connectionFailed, "No connection: it is refused")
        }
        if let failure = tlsFailure(error) { return failure }
        guard let error = error as? HTTPClientError else {
            return StoreError(.connectionLost, "The connection broke: \(reason(error))", effect: .unknown)
        }
        switch error {
        case .cancelled: return StoreError(.cancelled, effect: .unknown)
        case .alreadyShutdown: return StoreError(.shuttingDown)
        case .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout:
            return StoreError(.connectionFailed, "No connection: \(error.shortDescription)")
        case .invalidURL, .emptyHost, .emptyScheme: return .invalid("url", "It is no https:// URL")
        case .deadlineExceeded, .readTimeout, .writeTimeout: return StoreError(.timeout, effect: .unknown)
        default: return StoreError(.connectionLost, "The connection broke: \(error.shortDescription)", effect: .unknown)
        }
    }

    /// TLS that was not agreed on, before anything of the call was sent. Nil for what is no matter of TLS, and for what broke later.
    ///
    /// Certificates that do not fit are a matter of configuration, not of the endpoint's health.
    private static func tlsFailure(_ error: any Error) -> StoreError? {
        guard error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError else { return nil }
        let text = String(describing: error)
        if error is NIOSSLExtraError {
            return StoreError(
                .serverRefused, "No TLS with the endpoint: its certificate is for another name; check the URL's host")
        }
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return StoreError(
                .serverRefused,
                "No TLS with the endpoint: its certificate is not accepted; check that tls.authorityFile names its authority, and that it has "
                    + "not expired")
        }
        // What the endpoint says of ours. TLS 1.2 has no word for a certificate that is missing.
        let isOfOurs = text.contains("CERTIFICATE") || text.contains("UNKNOWN_CA") || text.contains("ALERT_HANDSHAKE_FAILURE")
        if text.contains("ALERT"), isOfOurs {
            return StoreError(
                .serverRefused,
                "No TLS with the endpoint: it does not accept the client's certificate, or wants one; check tls.certificateFile and "
                    + "tls.keyFile")
        }
        guard case .handshakeFailed? = error as? NIOSSLError else { return nil }
        // BoringSSL's word, without its numbers and the places in its sources.
        let word = text.firstRange(of: "OPENSSL_internal:").map { String(text[$0.upperBound...].prefix { $0 != " " }) }
        return StoreError(
            .connectionFailed,
            "TLS could not be agreed on (\(word ?? "the endpoint ended the connection")): is it a port without TLS, for http://?")
    }

    /// Something else than the protocol's answer came.
    static func error(status: UInt, line: String?) -> StoreError {
        switch status {
        case 401, 403:
            return StoreError(
                .serverRefused, "The endpoint refuses the token: check UPSTASH_REDIS_REST_TOKEN (\(line ?? "\(status)"))")
        case 404, 405:
            return StoreError(
                .protocolViolation, "No Upstash endpoint is there (\(line ?? "status \(status)")): check UPSTASH_REDIS_REST_URL")
        case 408, 504: return StoreError(.timeout, line, effect: .unknown)
        case 413: return StoreError(.tooLarge, line)
        case 429: return StoreError(.serverBusy, line ?? "The endpoint limits its callers")
        case 500...599:
            // A proxy may have lost the answer of a server that has done its work.
            let code = line.map { StoreError(ReplyError($0)).code }
            return StoreError(
                code == nil || code == .commandFailed ? .serverBusy : code ?? .serverBusy,
                line ?? "The endpoint answered \(status)", effect: .unknown)
        case 300..<400:
            return StoreError(.protocolViolation, "The endpoint redirects: UPSTASH_REDIS_REST_URL must name it itself")
        default:
            return StoreError(.protocolViolation, "The endpoint's answer (\(status)) is none of the protocol's", effect: .unknown)
        }
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            if let dns = error.dnsAError ?? error.dnsAAAAError { return reason(dns) }
            if let first = error.connectionErrors.first { return reason(first.error) }
        }
        if let error = error as? IOError { return error.description }
        return String(describing: type(of: error))
    }
}
