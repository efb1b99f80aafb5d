import Holdfast
import HoldfastStore

extension Schema {
    /// Checks a value against the schema.
    ///
    /// - Parameter field: the value's place in the request, such as `ttl_seconds` or `limits[0].window_seconds`; empty for the whole
    ///   body.
    /// - Throws: ``ErrorCode/invalidArgument`` naming the field that is wrong.
    func check(_ value: JSONValue, at field: String = "") throws(StoreError) {
        switch kind {
        case .any: break
        case .boolean: guard value.bool != nil else { throw mistake(field, "It must be true or false") }
        case .integer(let minimum, let maximum):
            guard let number = value.integer else { throw mistake(field, "It must be a whole number") }
            if let minimum, number < minimum { throw mistake(field, "It must be at least \(minimum)") }
            if let maximum, number > maximum { throw mistake(field, "It must be at most \(maximum)") }
        case .number(let minimum, let maximum):
            guard let number = value.double, number.isFinite else { throw mistake(field, "It must be a number") }
            if let minimum, number < minimum { throw mistake(field, "It must be at least \(minimum)") }
            if let maximum, number > maximum { throw mistake(field, "It must be at most \(maximum)") }
        case .string(let minimum, let maximum, let format, let allowed):
            guard let text = value.string else { throw mistake(field, "It must be a string") }
            try check(text, minimum, maximum, format, allowed, at: field)
        case .array(let element, let minimum, let maximum):
            guard let elements = value.array else { throw mistake(field, "It must be an array") }
            try check(elements.count, minimum, maximum, at: field)
            for (index, value) in elements.enumerated() { try element.check(value, at: "\(field)[\(index)]") }
        case .object(let members, let isOpen): try check(value, members, isOpen: isOpen, at: field)
        case .map(let schema, let maximum):
            guard let object = value.object else { throw mistake(field, "It must be an object") }
            try check(object.count, 0, maximum, at: field)
            for (name, value) in object.sorted(by: { $0.key < $1.key }) { try schema.check(value, at: Self.path(field, name)) }
        case .nullable(let schema): if !value.isNull { try schema.check(value, at: field) }
        case .named(_, let schema): try schema.check(value, at: field)
        }
    }

    private func check(
        _ text: String, _ minimum: Int, _ maximum: Int?, _ format: TextFormat?, _ allowed: [String]?, at field: String
    ) throws(StoreError) {
        let length = text.unicodeScalars.count
        guard length >= minimum else {
            throw mistake(field, minimum == 1 ? "It must not be empty" : "It must have at least \(minimum) characters")
        }
        if let maximum, length > maximum { throw mistake(field, "It must have at most \(maximum) characters") }
        if let allowed, !allowed.contains(text) { throw mistake(field, "It must be one of \(allowed.joined(separator: ", "))") }
        if let format, !format.accepts(text) { throw mistake(field, format.hint) }
    }

    private func check(_ count: Int, _ minimum: Int, _ maximum: Int?, at field: String) throws(StoreError) {
        guard count >= minimum else { throw mistake(field, "It must have at least \(minimum) elements") }
        if let maximum, count > maximum { throw mistake(field, "It must have at most \(maximum) elements") }
    }

    private func check(_ value: JSONValue, _ members: [Member], isOpen: Bool, at field: String) throws(StoreError) {
        guard let object = value.object else { throw mistake(field, "It must be an object") }
        for member in members {
            let place = Self.path(field, member.name)
            if let value = object[member.name] {
                try member.schema.check(value, at: place)
            } else if member.isRequired {
                throw mistake(place, "It is missing")
            }
        }
        guard !isOpen else { return }
        let known = Set(members.map(\.name))
        if let stranger = object.keys.filter({ !known.contains($0) }).min() {
            throw mistake(
                Self.path(field, stranger), "There is no such member; known are \(members.map(\.name).joined(separator: ", "))")
        }
    }

    private static func path(_ parent: String, _ name: String) -> String {
        // A hostile name must not fill logs and answers.
        let name = name.unicodeScalars.count > 64 ? String(name.prefix(64)) + "…" : name
        return parent.isEmpty ? name : "\(parent).\(name)"
    }

    private func mistake(_ field: String, _ message: String) -> StoreError { .invalid(field.isEmpty ? "body" : field, message) }
}
