import HTTPTypes
import HoldfastStore

/// One operation of the HTTP API, declared once: the router, the checks of its input and `/openapi.json` are all made from this.
struct Route: Sendable {
    typealias Handler = @Sendable (Call) async throws(StoreError) -> Answer

    /// Who may call.
    enum Access: Sendable, Hashable {
        /// Anybody, without a key.
        case open
        /// A key with this role or a higher one.
        case role(CallContext.Role)
    }

    struct Parameter: Sendable {
        enum Place: String, Sendable { case path, query, header }

        let name: String
        let place: Place
        let schema: Schema
        let isRequired: Bool
        let note: String
    }

    /// One possible answer, for the document.
    struct Outcome: Sendable {
        let status: Int
        let note: String
        /// Nil for an answer without a body.
        let schema: Schema?
        var mediaType = "application/json"
        /// Header names with what they say.
        var headers: [(name: String, note: String)] = []
    }

    let method: HTTPRequest.Method
    let path: RoutePath
    /// The operation's name in generated clients, such as `listCacheKeys`. Unique.
    let name: String
    let summary: String
    let group: String
    let access: Access
    var parameters: [Parameter] = []
    var body: Schema?
    /// Whether a request without a body is fine although one is described.
    var isBodyOptional = false
    let outcomes: [Outcome]
    let handler: Handler

    init(
        _ method: HTTPRequest.Method, _ path: RoutePath, _ name: String, _ summary: String, group: String, access: Access,
        parameters: [Parameter] = [], body: Schema? = nil, isBodyOptional: Bool = false, outcomes: [Outcome],
        handler: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.name = name
        self.summary = summary
        self.group = group
        self.access = access
        self.parameters = parameters
        self.body = body
        self.isBodyOptional = isBodyOptional
        self.outcomes = outcomes
        self.handler = handler
    }
}

extension Route.Parameter {
    static func path(_ name: String, _ schema: Schema, _ note: String) -> Self {
        Self(name: name, place: .path, schema: schema, isRequired: true, note: note)
    }
    static func query(_ name: String, _ schema: Schema, _ note: String, required: Bool = false) -> Self {
        Self(name: name, place: .query, schema: schema, isRequired: required, note: note)
    }
    static func header(_ name: String, _ schema: Schema, _ note: String) -> Self {
        Self(name: name, place: .header, schema: schema, isRequired: false, note: note)
    }
}

extension Route.Outcome {
    static func ok(_ schema: Schema, _ note: String, headers: [(name: String, note: String)] = []) -> Self {
        Self(status: 200, note: note, schema: schema, headers: headers)
    }
    static func created(_ schema: Schema, _ note: String, headers: [(name: String, note: String)] = []) -> Self {
        Self(status: 201, note: note, schema: schema, headers: headers)
    }
    static func noContent(_ note: String, headers: [(name: String, note: String)] = []) -> Self {
        Self(status: 204, note: note, schema: nil, headers: headers)
    }
    static let notModified = Self(status: 304, note: "The caller's copy is current.", schema: nil, headers: [decidedBy])
    /// For what has no body.
    static let decidedBy = (
        name: "X-Decided-By", note: "`server`: the configured store. `local`: this process, because the server is away."
    )
    static func problem(_ code: ErrorCode, _ note: String? = nil) -> Self {
        Self(status: code.status.code, note: note ?? code.title + ".", schema: Problem.schema, mediaType: Problem.mediaType)
    }
}
