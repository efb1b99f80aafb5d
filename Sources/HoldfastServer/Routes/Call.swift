import HTTPTypes
import Holdfast
import HoldfastStore

/// A request that passed the door: its caller is known, its parameters and body are what the route declares.
struct Call: Sendable {
    let route: Route
    /// Whom it is for and how long it may take; also the task's ``CallContext/current``.
    let context: CallContext
    /// Path, query and header parameters by name, as the values that their schemas describe.
    let parameters: [String: JSONValue]
    /// `null` where there is none.
    let body: JSONValue
    let headers: HTTPFields
    let requestID: String
    /// What the call's effect is done as, for one with an `Idempotency-Key`: so that repeating it has no second effect.
    var operation: OperationID?

    /// A parameter that the route declares as required, or that has a default.
    func string(_ name: String, default fallback: String = "") -> String { parameters[name]?.string ?? fallback }
    func integer(_ name: String, default fallback: Int64 = 0) -> Int64 { parameters[name]?.integer ?? fallback }
    func optionalString(_ name: String) -> String? { parameters[name]?.string }
    func flag(_ name: String) -> Bool { parameters[name]?.bool ?? false }

    /// A refusal that says who decided it.
    func problem(_ error: StoreError, by decider: Decider) -> Answer {
        var problem = Problem(error)
        problem.decidedBy = decider
        return problem.answer(requestID: requestID)
    }
}

/// Reads what a request carries, as its route declares it.
struct RequestReader {
    let route: Route

    /// The parameters' values.
    ///
    /// - Throws: ``ErrorCode/invalidArgument`` naming the parameter that is missing, unknown, repeated or wrong.
    func parameters(
        path: [String: String?], query: Substring?, headers: HTTPFields
    ) throws(StoreError) -> [String: JSONValue] {
        var found: [String: String] = [:]
        for (name, value) in path {
            guard let value else { throw .invalid(name, "Its percent-encoding is broken, or stands for no UTF-8") }
            found[name] = value
        }
        try readQuery(query, into: &found)
        for parameter in route.allParameters where parameter.place == .header {
            guard let name = HTTPField.Name(parameter.name) else { continue }
            found[parameter.name] = headers[name]
        }
        var values: [String: JSONValue] = [:]
        for parameter in route.allParameters {
            guard let text = found[parameter.name] else {
                guard !parameter.isRequired else { throw .invalid(parameter.name, "It is missing") }
                continue
            }
            let value = parameter.schema.value(of: text)
            try parameter.schema.check(value, at: parameter.name)
            values[parameter.name] = value
        }
        return values
    }

    private func readQuery(_ query: Substring?, into found: inout [String: String]) throws(StoreError) {
        guard let query, !query.isEmpty else { return }
        guard let members = PercentEncoding.query(query) else { throw .invalid("query", "The query string is not well encoded") }
        let known = route.parameters.filter { $0.place == .query }.map(\.name)
        for (name, value) in members {
            let shown = String(name.prefix(64))
            guard known.contains(name) else {
                let list = known.isEmpty ? "this route has none" : "known are \(known.joined(separator: ", "))"
                throw .invalid(shown, "There is no such query parameter; \(list)")
            }
            guard found.updateValue(value, forKey: name) == nil else { throw .invalid(shown, "It is given twice") }
        }
    }

    /// The body's value; `null` for none.
    func body(_ bytes: some Collection<UInt8>, mediaType: String?) throws(StoreError) -> JSONValue {
        guard let schema = route.body else { return .null }
        if bytes.isEmpty {
            guard route.isBodyOptional else { throw .invalid("body", "It is missing") }
            return .null
        }
        guard Self.isJSON(mediaType) else {
            throw StoreError(
                .unsupportedMediaType, "The body must be JSON (Content-Type: application/json)", field: "Content-Type")
        }
        guard let value = JSONValue(json: bytes) else { throw .invalid("body", "It is no valid JSON, or nested too deep") }
        try schema.check(value)
        return value
    }

    /// `application/json` and `application/…+json`, with whatever parameters; a body without a type is taken as JSON.
    static func isJSON(_ mediaType: String?) -> Bool {
        guard let mediaType else { return true }
        let name = mediaType.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
        return name == "application/json" || (name.hasPrefix("application/") && name.hasSuffix("+json"))
    }
}

extension Schema {
    /// A parameter's text as the value that the schema speaks of; left a string where it is none such, for the check to refuse.
    func value(of text: String) -> JSONValue {
        switch kind {
        case .integer: Int64(text).map { JSONValue($0) } ?? .string(text)
        case .number: Double(text).map { JSONValue($0) } ?? .string(text)
        case .boolean: text == "true" ? true : text == "false" ? false : .string(text)
        case .nullable(let schema), .named(_, let schema): schema.value(of: text)
        default: .string(text)
        }
    }
}
