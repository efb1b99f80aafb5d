import Foundation
import Holdfast
import HoldfastStore
import Testing

@Suite struct JSONValueTests {
    @Test(arguments: [
        JSONValue.null, true, false, 0, -7, .integer(.max), .integer(.min), 1.0, -0.0, 1e300, 0.1, "", "a\"b\\c\n\u{1}é😀",
        [], [1, [2.5, .null]], [:], ["b": 1, "a": ["z": [.null], "": "x"]],
    ])
    func whatIsWrittenIsReadBack(_ value: JSONValue) throws {
        let text = try #require(value.encoded())
        #expect(JSONValue(json: text) == value)
        #expect(try JSONDecoder().decode([JSONValue].self, from: Data("[\(text)]".utf8)).count == 1, "Foundation reads it too")
    }

    @Test func theTextIsCanonical() {
        let value: JSONValue = ["b": [1, 2.0, "é/\u{1f}"], "a": .null, "B": true]
        #expect(value.encoded() == #"{"B":true,"a":null,"b":[1,2.0,"é/\u001f"]}"#)
        #expect(JSONValue.double(.nan).encoded() == nil)
        #expect(JSONValue.array([.double(.infinity)]).encoded() == nil)
    }

    @Test func whateverSpacingAndEscapesAreRead() {
        #expect(JSONValue(json: Bytes(" { \"a\" : [ 1 , 2.5 , \"\\u00e9\\ud83d\\ude00\\/\" ] }\n")) == ["a": [1, 2.5, "é😀/"]])
        #expect(JSONValue(json: Bytes(#"{"a":1,"a":2}"#)) == ["a": 2])
    }

    @Test(arguments: [
        "9223372036854775808", "18446744073709551616", "-9223372036854775809", "1e5", "1E+5", "1.0", "1.50", "1", "-0", "-0.0",
        "0.0",
        "1e0", "100000.0", "3.14159265358979323846264338327950288", "1e-400", "12345678901234567890.12345678901234567890",
    ])
    func aNumberKeepsItsText(_ text: String) throws {
        let value = try #require(JSONValue(json: Bytes(text)))
        #expect(value.encoded() == Bytes(text))
        #expect(value.double == Double(text))
        #expect(try JSONDecoder().decode(Double.self, from: JSONEncoder().encode(value)) == value.double)
    }

    @Test func aNumberIsReadAsWhatItIs() {
        #expect(JSONValue(json: Bytes("1")) == .integer(1) && JSONValue(json: Bytes("1.5")) == .double(1.5))
        #expect(JSONValue(json: Bytes("1e2"))?.integer == 100 && JSONValue(json: Bytes("1e2"))?.double == 100)
        #expect(JSONValue(json: Bytes("9223372036854775808"))?.integer == nil)
        #expect(JSONValue(json: Bytes("1.0")) != JSONValue(json: Bytes("1")))
    }

    @Test(arguments: [
        "", " ", "nul", "tru", "01", "-", "1.", ".5", "1e", "+1", "[1,]", "[1", "{\"a\"}", "{\"a\":}", "{a:1}", "\"a", "\"\\x\"",
        "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\u{1}\"", "1 2", "[]]", "NaN", "1e999", "\"\\u12\"",
    ])
    func whatIsNoJSONIsRefused(_ text: String) { #expect(JSONValue(json: Bytes(text)) == nil) }

    @Test func invalidUTF8IsRefused() {
        #expect(JSONValue(json: [0x22, 0xFF, 0x22]) == nil)
        #expect(JSONValue(json: [0x22, 0x5C, 0x6E, 0xC3, 0x22]) == nil)
    }

    @Test func depthIsBounded() {
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        #expect(JSONValue(json: Bytes(nested(128))) != nil)
        #expect(JSONValue(json: Bytes(nested(129))) == nil)
        #expect(JSONValue(json: Bytes(String(repeating: "[", count: 1_000_000))) == nil)
    }

    @Test func codableAgreesWithTheText() throws {
        let value: JSONValue = ["a": [1, 2.5, "x", .null, true]]
        #expect(try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value)) == value)
    }
}
