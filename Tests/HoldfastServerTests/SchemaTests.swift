import Holdfast
import HoldfastStore
import Testing

@testable import HoldfastServer

@Suite struct SchemaTests {
    private static let schema = Schema.object([
        .required("name", .string(1...3)), .optional("age", .integer(0...150)), .optional("tags", .array(of: .string, 0...2)),
        .optional("inner", .object([.required("when", .dateTime)]).orNull), .optional("more", .map(of: .boolean)),
        .optional("kind", .oneOf(["a", "b"])), .optional("share", .number(0...1)),
    ])

    @Test(arguments: [
        #"{"name":"a"}"#, #"{"name":"äöü","age":1.0,"inner":null}"#,
        #"{"name":"a","inner":{"when":"2026-01-31T12:00:00Z"},"more":{"x":true},"kind":"b","share":0.5,"tags":["x"]}"#,
    ])
    func goodValuesPass(text: String) throws {
        try Self.schema.check(try #require(JSONValue(json: text.utf8)))
    }

    @Test(arguments: [
        ("[]", "body"), ("{}", "name"), (#"{"name":""}"#, "name"), (#"{"name":"abcd"}"#, "name"), (#"{"name":1}"#, "name"),
        (#"{"name":"a","age":-1}"#, "age"), (#"{"name":"a","age":1.5}"#, "age"), (#"{"name":"a","age":null}"#, "age"),
        (#"{"name":"a","tags":["x",1]}"#, "tags[1]"), (#"{"name":"a","tags":["","",""]}"#, "tags"),
        (#"{"name":"a","inner":{"when":"today"}}"#, "inner.when"), (#"{"name":"a","inner":{}}"#, "inner.when"),
        (#"{"name":"a","more":{"x":1}}"#, "more.x"), (#"{"name":"a","kind":"c"}"#, "kind"), (#"{"name":"a","nmae":1}"#, "nmae"),
        (#"{"name":"a","share":1.1}"#, "share"),
    ])
    func badOnesNameTheField(text: String, field: String) throws {
        let value = try #require(JSONValue(json: text.utf8))
        let error = #expect(throws: StoreError.self) { try Self.schema.check(value) }
        #expect(error?.field == field && error?.code == .invalidArgument)
    }
}

@Suite struct RFC3339Tests {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2026-11-21T09:30:00.250Z", 1_795_253_400_250),
            ("2024-02-29T23:59:59+02:00", 1_709_243_999_000),
            ("1969-12-31T23:59:59.999Z", -1), ("2000-01-01t00:00:00.1234z", 946_684_800_123),
        ] as [(String, Int64)])
    func momentsAreRead(text: String, milliseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00Zx", "2026-1-01T00:00:00Z", "２026-01-01T00:00:00Z",
    ])
    func otherTextsAreNone(text: String) { #expect(Timestamp(rfc3339: text) == nil) }

    @Test func writingAndReadingAreInverse() {
        var moment: Int64 = -62_135_596_800_000
        while moment < 253_402_300_799_999 {
            let text = Timestamp(milliseconds: moment).rfc3339
            #expect(Timestamp(rfc3339: text)?.milliseconds == moment, "\(text)")
            moment += 31_557_600_123_457
        }
        #expect(Timestamp(milliseconds: 1_795_253_400_250).rfc3339 == "2026-11-21T09:30:00.250Z")
    }
}
