import HTTPTypes
import Holdfast
import HoldfastStore
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Testing

@testable import HoldfastServer

/// A server in memory with three keys, whose every answer is held against the API document.
struct ServerUnderTest {
    static let admin = "admin-secret"
    static let writer = "operator-secret"
    static let reader = "reader-secret"
    static let acme = "acme-secret"

    let state: AgentState
    let server: HTTPServer

    init(state: AgentState = .embedded(), configuration: HTTPServer.Configuration = HTTPServer.Configuration()) throws {
        self.state = state
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let keys = try APIKeyRing(parsing: [
            "root:admin:\(Self.admin)", "agent:operator:\(Self.writer)", "viewer:reader:\(Self.reader)",
            "acme:operator@acme:\(Self.acme)",
        ])
        server = HTTPServer(state: state, keys: keys, configuration: configuration, logger: logger)
    }

    struct Reply {
        let status: Int
        let headers: HTTPFields
        let text: String

        var json: JSONValue { JSONValue(json: Array(text.utf8)) ?? .null }
        /// The code of a problem.
        var code: String? { json["code"]?.string }
        var field: String? { json["field"]?.string }

        func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
    }

    /// Sends one request and checks that the answer is one that the document promises.
    func send(
        _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil, key: String? = Self.writer,
        headers: [String: String] = [:]
    ) async throws -> Reply {
        try await send(method, path, text: body?.answerBytes.lossyString, key: key, headers: headers)
    }

    func send(
        _ method: HTTPRequest.Method, _ path: String, text: String?, key: String? = Self.writer, headers: [String: String] = [:]
    ) async throws -> Reply {
        var fields: HTTPFields = [:]
        if let key { fields[.authorization] = "Bearer \(key)" }
        if text != nil { fields[.contentType] = "application/json" }
        for (name, value) in headers { if let name = HTTPField.Name(name) { fields[name] = value } }
        let reply = try await server.application.test(.router) { [fields] client in
            try await client.execute(uri: path, method: method, headers: fields, body: text.map { ByteBuffer(string: $0) }) {
                Reply(status: $0.status.code, headers: $0.headers, text: String(buffer: $0.body))
            }
        }
        try check(reply, method, path)
        return reply
    }

    /// Whether the answer is as its route declares: status, media type and schema.
    private func check(_ reply: Reply, _ method: HTTPRequest.Method, _ path: String) throws {
        #expect(reply.header("X-Request-ID") != nil)
        guard case .found(let route, _) = RouteTable(server.routes).match(method, path.prefix { $0 != "?" }) else { return }
        let outcomes = route.outcomes + route.commonProblems
        let outcome = try #require(
            outcomes.first { $0.status == reply.status }, "\(method) \(route.path) declares no \(reply.status): \(reply.text)")
        guard method != .head else {
            #expect(reply.text.isEmpty)
            return
        }
        guard let schema = outcome.schema else {
            #expect(reply.text.isEmpty)
            return
        }
        let type = reply.header("Content-Type")
        #expect(type == outcome.mediaType || (reply.status >= 400 && type == Problem.mediaType))
        guard outcome.mediaType.hasSuffix("json") else { return }
        #expect(throws: Never.self, "\(method) \(route.path): \(reply.text)") { try schema.check(reply.json) }
    }
}
