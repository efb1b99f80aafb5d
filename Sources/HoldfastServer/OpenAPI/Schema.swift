import Holdfast

/// What a JSON value may be: the part of JSON Schema 2020-12 (OpenAPI 3.1's dialect) that the routes need.
///
/// One value is both the published schema and the check that requests go through (`Schema+Check.swift`), so the document cannot
/// promise what the code does not do.
struct Schema: Sendable, Hashable {
    indirect enum Kind: Sendable, Hashable {
        case any
        case boolean
        case integer(minimum: Int64?, maximum: Int64?)
        case number(minimum: Double?, maximum: Double?)
        case string(minimum: Int, maximum: Int?, format: TextFormat?, allowed: [String]?)
        case array(Schema, minimum: Int, maximum: Int?)
        case object([Member], isOpen: Bool)
        case map(Schema, maximum: Int?)
        case nullable(Schema)
        case named(String, Schema)
    }

    /// A member of an object.
    struct Member: Sendable, Hashable {
        let name: String
        let schema: Schema
        let isRequired: Bool

        static func required(_ name: String, _ schema: Schema) -> Member {
            Member(name: name, schema: schema, isRequired: true)
        }
        static func optional(_ name: String, _ schema: Schema) -> Member {
            Member(name: name, schema: schema, isRequired: false)
        }
    }

    let kind: Kind
    var note: String?
    var example: JSONValue?

    init(_ kind: Kind) { self.kind = kind }
}

extension Schema {
    /// Any JSON value.
    static let any = Schema(.any)
    static let boolean = Schema(.boolean)
    static let integer = Schema(.integer(minimum: nil, maximum: nil))
    static let number = Schema(.number(minimum: nil, maximum: nil))
    static let string = Schema(.string(minimum: 0, maximum: nil, format: nil, allowed: nil))
    /// A moment, RFC 3339 in UTC.
    static let dateTime = Schema(.string(minimum: 0, maximum: nil, format: .dateTime, allowed: nil))

    static func integer(_ range: ClosedRange<Int64>) -> Schema {
        Schema(.integer(minimum: range.lowerBound, maximum: range.upperBound))
    }
    static func integer(atLeast minimum: Int64) -> Schema { Schema(.integer(minimum: minimum, maximum: nil)) }
    static func number(_ range: ClosedRange<Double>) -> Schema {
        Schema(.number(minimum: range.lowerBound, maximum: range.upperBound))
    }
    static func number(atLeast minimum: Double) -> Schema { Schema(.number(minimum: minimum, maximum: nil)) }
    /// A text of so many Unicode code points.
    static func string(_ length: ClosedRange<Int>, format: TextFormat? = nil) -> Schema {
        Schema(.string(minimum: length.lowerBound, maximum: length.upperBound, format: format, allowed: nil))
    }
    static func oneOf(_ words: [String]) -> Schema {
        Schema(.string(minimum: 0, maximum: nil, format: nil, allowed: words))
    }
    static func array(of element: Schema, _ count: ClosedRange<Int>) -> Schema {
        Schema(.array(element, minimum: count.lowerBound, maximum: count.upperBound))
    }
    static func array(of element: Schema) -> Schema { Schema(.array(element, minimum: 0, maximum: nil)) }
    /// An object with these members and no others, unless it is open.
    static func object(_ members: [Member], isOpen: Bool = false) -> Schema { Schema(.object(members, isOpen: isOpen)) }
    /// An object whose members all have one schema, under any name.
    static func map(of value: Schema, maximum: Int? = nil) -> Schema { Schema(.map(value, maximum: maximum)) }

    var orNull: Schema { Schema(.nullable(self)) }

    /// The same, described once under `#/components/schemas` and referred to by its name.
    func named(_ name: String) -> Schema { Schema(.named(name, self)) }

    func described(_ note: String, example: JSONValue? = nil) -> Schema {
        var copy = self
        copy.note = note
        copy.example = example ?? self.example
        return copy
    }
}

// MARK: - As a document

extension Schema {
    /// The JSON Schema; named ones as references.
    var json: JSONValue {
        guard case .object(var object) = bare else { return bare }
        if let note { object["description"] = .string(note) }
        if let example { object["examples"] = .array([example]) }
        return .object(object)
    }

    private var bare: JSONValue {
        switch kind {
        case .any: [:]
        case .boolean: ["type": "boolean"]
        case .integer(let minimum, let maximum):
            .object([("type", "integer"), ("minimum", minimum.map { JSONValue($0) }), ("maximum", maximum.map { JSONValue($0) })])
        case .number(let minimum, let maximum):
            .object([("type", "number"), ("minimum", minimum.map { JSONValue($0) }), ("maximum", maximum.map { JSONValue($0) })])
        case .string(let minimum, let maximum, let format, let allowed):
            .object([
                ("type", "string"), ("minLength", minimum > 0 ? JSONValue(minimum) : nil),
                ("maxLength", maximum.map { JSONValue($0) }),
                (format?.json.name ?? "", format?.json.value), ("enum", allowed.map { .array($0.map(JSONValue.string)) }),
            ])
        case .array(let element, let minimum, let maximum):
            .object([
                ("type", "array"), ("items", element.json), ("minItems", minimum > 0 ? JSONValue(minimum) : nil),
                ("maxItems", maximum.map { JSONValue($0) }),
            ])
        case .object(let members, let isOpen): Self.describe(members, isOpen: isOpen)
        case .map(let value, let maximum):
            .object([
                ("type", "object"), ("additionalProperties", value.json), ("maxProperties", maximum.map { JSONValue($0) }),
            ])
        case .nullable(let schema): ["anyOf": [schema.json, ["type": "null"]]]
        case .named(let name, _): ["$ref": .string("#/components/schemas/\(name)")]
        }
    }

    private static func describe(_ members: [Member], isOpen: Bool) -> JSONValue {
        let required = members.filter(\.isRequired).map { JSONValue.string($0.name) }
        return .object([
            ("type", "object"), ("properties", .object(members.map { ($0.name, $0.schema.json) })),
            ("required", required.isEmpty ? nil : .array(required)), ("additionalProperties", .bool(isOpen)),
        ])
    }

    /// Every named schema in this one, itself included.
    func collectNamed(into found: inout [String: Schema]) {
        switch kind {
        case .any, .boolean, .integer, .number, .string: break
        case .array(let element, _, _): element.collectNamed(into: &found)
        case .object(let members, _): for member in members { member.schema.collectNamed(into: &found) }
        case .map(let value, _): value.collectNamed(into: &found)
        case .nullable(let schema): schema.collectNamed(into: &found)
        case .named(let name, let schema):
            guard found.updateValue(schema, forKey: name) == nil else { return }
            schema.collectNamed(into: &found)
        }
    }
}
