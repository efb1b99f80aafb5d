import HTTPTypes
import HoldfastStore
import NIOHTTP1

/// Why something that came over a connection is not answered as a request: the problem to say so, and a word for the metrics.
struct Refusal: Sendable {
    enum Reason: String, Sendable, CaseIterable {
        case malformed
        case urlTooLong = "url_too_long"
        case headersTooLarge = "headers_too_large"
        case unknownMethod = "unknown_method"
        case unknownVersion = "unknown_version"
        case tooSlow = "too_slow"
        case tooManyConnections = "too_many_connections"
    }

    let reason: Reason
    let problem: Problem

    private init(_ reason: Reason, _ error: StoreError, _ status: HTTPResponse.Status? = nil) {
        self.reason = reason
        problem = Problem(error, status: status)
    }

    static let tooSlow = Refusal(.tooSlow, StoreError(.requestTimeout, "The request came too slowly"))
    static let tooManyConnections = Refusal(
        .tooManyConnections, StoreError(.overloaded, "Too many connections are open; try again later"))
    static let badHost = Refusal(
        .malformed, StoreError(.malformedRequest, "A request of HTTP/1.1 has exactly one Host header", field: "Host"))

    /// What the parser could not read.
    ///
    /// - Parameters:
    ///   - start: the first bytes of the request; empty where they came together with the request before it.
    ///   - isPastFirstLine: whether the error is behind the request line.
    static func unreadable(_ error: HTTPParserError, start: [UInt8], isPastFirstLine: Bool) -> Refusal {
        switch error {
        case .headerOverflow where isPastFirstLine:
            Refusal(
                .headersTooLarge, StoreError(.tooLarge, "The headers are too large or too many", field: "headers"),
                .requestHeaderFieldsTooLarge)
        case .headerOverflow:
            Refusal(.urlTooLong, StoreError(.tooLarge, "The URL is too long", field: "url"), .uriTooLong)
        case .invalidMethod where isMethod(start):
            Refusal(.unknownMethod, StoreError(.methodNotImplemented, "No resource here knows this method", field: "method"))
        case .invalidVersion:
            Refusal(
                .unknownVersion, StoreError(.malformedRequest, "This server speaks HTTP/1.1 and HTTP/1.0", field: "version"),
                .httpVersionNotSupported)
        default: malformed(error)
        }
    }

    private static func malformed(_ error: HTTPParserError) -> Refusal {
        let (text, field): (String, String?) =
            switch error {
            case .invalidMethod: ("It does not begin with a method", "method")
            case .invalidURL, .invalidHost, .invalidPort, .invalidPath, .invalidQueryString, .invalidFragment:
                ("The URL holds characters that it must not", "url")
            case .invalidHeaderToken: ("A header is not well formed", "headers")
            case .invalidContentLength, .unexpectedContentLength:
                ("Content-Length is no number, or contradicts another header", "Content-Length")
            case .invalidChunkSize: ("The body's chunks are not well formed", "body")
            case .invalidEOFState: ("It ends before its end", nil)
            default: ("It cannot be read", nil)
            }
        return Refusal(.malformed, StoreError(.malformedRequest, text, field: field))
    }

    /// Whether bytes begin with a token (RFC 9110 §5.6.2) of a method's length and a space.
    private static func isMethod(_ bytes: [UInt8]) -> Bool {
        guard let end = bytes.firstIndex(of: UInt8(ascii: " ")), end > 0 else { return false }
        return HTTPRequest.Method(String(decoding: bytes[..<end], as: UTF8.self)) != nil
    }
}
