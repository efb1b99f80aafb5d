import HTTPTypes
import Holdfast
import HoldfastStore

/// An error as the HTTP API shows it: problem details by RFC 9457.
struct Problem: Sendable {
    static let mediaType = "application/problem+json"

    let error: StoreError
    let status: HTTPResponse.Status
    var headers: HTTPFields = [:]
    /// Who says so, where it may be this process because the server is away.
    var decidedBy: Decider?

    /// - Parameter status: where HTTP knows a finer one than the code has.
    init(_ error: StoreError, status: HTTPResponse.Status? = nil, headers: HTTPFields = [:]) {
        self.error = error
        self.status = status ?? error.code.status
        self.headers = headers
    }

    /// - Parameter requestID: stands in the log too, so that a user's report leads to the line.
    func json(requestID: String) -> JSONValue {
        .object([
            ("type", .string(error.code.problemType)), ("title", .string(error.code.title)),
            ("status", JSONValue(status.code)), ("detail", .string(error.publicMessage)), ("code", .string(error.code.name)),
            ("field", error.field.map(JSONValue.string)), ("effect", .string(error.effect.rawValue)),
            ("requestID", .string(requestID)), ("decided_by", decidedBy.map { .string($0.word) }),
        ])
    }

    func answer(requestID: String) -> Answer {
        var answer = Answer(status, body: .json(json(requestID: requestID), mediaType: Self.mediaType), headers: headers)
        if let seconds = error.code.retryAfterSeconds, answer.headers[.retryAfter] == nil {
            answer.headers[.retryAfter] = seconds.description
        }
        if error.code == .unauthenticated { answer.headers[.wwwAuthenticate] = "Bearer realm=\"holdfast\"" }
        return answer
    }

    static let members: [Schema.Member] = [
        .required("type", .string(1...200, format: .uri).described("The kind of problem; it never changes once released.")),
        .required("title", Schema.string.described("The kind of problem, in words.")),
        .required("status", .integer(400...599)),
        .required("detail", Schema.string.described("This case, in words.")),
        .required("code", Schema.string.described("The last part of `type`.")),
        .optional("field", Schema.string.described("The parameter, header or body member that is wrong.")),
        .required(
            "effect",
            .oneOf(["none", "unknown"]).described("`none`: nothing was changed. `unknown`: it may have happened all the same.")),
        .required("requestID", Schema.string.described("Stands in the server's log too.")),
        .optional("decided_by", Decider.schema),
    ]

    static let schema = Schema.object(members).named("Problem")
}

extension StoreError {
    /// The message as clients may see it. What went wrong between this process and its server is for the log: it names addresses that
    /// are not the client's business. A missing permission names a command, and no key.
    var publicMessage: String {
        switch code {
        case .connectionFailed, .connectionLost, .serverRefused, .protocolViolation: code.title
        default: message
        }
    }
}
