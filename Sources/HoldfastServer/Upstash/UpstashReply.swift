import HTTPTypes
import Holdfast
import HoldfastStore

/// How replies are written: as JSON, as JSON with its strings in base64, or as RESP2's own bytes.
enum UpstashFormat: Sendable, Hashable {
    case json, base64, resp2

    /// What a request's headers ask for.
    init(_ headers: HTTPFields) throws(ReplyError) {
        let encoding = headers[.upstashEncoding]?.lowercased()
        let format = headers[.upstashResponseFormat]?.lowercased()
        guard encoding == nil || encoding == "base64" else { throw ReplyError("ERR Upstash-Encoding must be base64") }
        switch format {
        case nil, "json": self = encoding == nil ? .json : .base64
        case "resp2":
            guard encoding == nil else { throw ReplyError("ERR Upstash-Encoding cannot be used with the resp2 response format") }
            self = .resp2
        default: throw ReplyError("ERR Upstash-Response-Format must be json or resp2")
        }
    }

    var mediaType: String { self == .resp2 ? "application/octet-stream" : "application/json" }

    /// The body for the reply to one command; replies are in RESP2's shapes.
    func body(_ reply: Reply) -> [UInt8] {
        self == .resp2 ? Self.wire(reply) : Array(item(reply).answerBytes)
    }

    /// The body for those to several.
    func body(_ replies: [Reply]) -> [UInt8] {
        self == .resp2 ? replies.flatMap(Self.wire) : Array(JSONValue.array(replies.map(item)).answerBytes)
    }

    static func failure(_ line: String) -> JSONValue { ["error": .string(line)] }

    // MARK: - JSON

    private func item(_ reply: Reply) -> JSONValue {
        if case .error(let error) = reply { return Self.failure(error.line) }
        return ["result": json(reply)]
    }

    private func json(_ reply: Reply) -> JSONValue {
        switch reply {
        case .null: .null
        case .integer(let number): .integer(number)
        // The one string that is never encoded.
        case .status("OK"): "OK"
        case .status(let bytes), .bytes(let bytes): string(bytes)
        case .error(let error): string(Bytes(error.line))
        case .array(let elements), .map(let elements), .set(let elements): .array(elements.map(json))
        case .double(let number): string(Bytes(number.description))
        case .boolean(let flag): .integer(flag ? 1 : 0)
        }
    }

    private func string(_ bytes: Bytes) -> JSONValue {
        .string(self == .base64 ? String(decoding: Base64.standard.encode(bytes), as: UTF8.self) : bytes.lossyString)
    }

    // MARK: - RESP2

    private static func wire(_ reply: Reply) -> [UInt8] {
        switch reply {
        case .null: return Array("$-1\r\n".utf8)
        case .integer(let number): return Array(":\(number)\r\n".utf8)
        case .status(let bytes): return Array("+".utf8) + bytes + Array("\r\n".utf8)
        case .error(let error): return Array("-\(error.line)\r\n".utf8)
        case .bytes(let bytes): return Array("$\(bytes.count)\r\n".utf8) + bytes + Array("\r\n".utf8)
        case .array(let elements), .map(let elements), .set(let elements):
            return elements.reduce(into: Array("*\(elements.count)\r\n".utf8)) { $0 += wire($1) }
        case .double(let number): return wire(.bytes(Bytes(number.description)))
        case .boolean(let flag): return wire(.integer(flag ? 1 : 0))
        }
    }
}
