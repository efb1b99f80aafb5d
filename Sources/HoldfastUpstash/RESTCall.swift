import HoldfastStore

/// One request to the endpoint: where it goes and what it carries.
struct RESTCall: Sendable, Hashable {
    /// Behind the URL, with its slash.
    let path: String
    let body: [UInt8]
    let isJSON: Bool
    /// Whether it only reads, so that the whole may be sent again when its answer was lost.
    let isRead: Bool

    /// One command, in the form that can carry it, and whether its reply comes inside a carrier's.
    static func command(_ arguments: [Bytes]) throws(StoreError) -> (call: RESTCall, isCarried: Bool) {
        let isRead = reads(arguments)
        if RESTBody.canCarry(arguments) { return (json("/", isRead) { RESTBody.write(arguments, to: &$0) }, false) }
        if let last = arguments.last, let path = path(arguments.dropLast()) {
            return (RESTCall(path: path, body: Array(last), isJSON: false, isRead: isRead), false)
        }
        return (try carrier(for: [arguments]), true)
    }

    /// The script that carries commands which are no text.
    static func carrier(for commands: [[Bytes]]) throws(StoreError) -> RESTCall {
        let areReads = commands.allSatisfy(reads)
        let script = try RESTCarrier.script(for: commands, reads: areReads)
        return json("/", areReads) { RESTBody.write(script, to: &$0) }
    }

    static func commands(_ path: String, _ commands: [[Bytes]], areReads: Bool) -> RESTCall {
        json(path, areReads) { RESTBody.write(commands, to: &$0) }
    }

    private static func json(_ path: String, _ isRead: Bool, _ write: (inout [UInt8]) -> Void) -> RESTCall {
        var body: [UInt8] = []
        write(&body)
        return RESTCall(path: path, body: body, isJSON: true, isRead: isRead)
    }

    /// The path of a command whose last argument is the body; nil where that would not be text, be empty, or be long for a URL.
    private static func path(_ arguments: ArraySlice<Bytes>) -> String? {
        guard arguments.count > 1, arguments.allSatisfy({ !$0.isEmpty && RESTBody.isText($0) }) else { return nil }
        let path = arguments.map { "/" + encoded($0) }.joined()
        return path.utf8.count <= maximumPathBytes ? path : nil
    }

    /// Servers differ; some thousand bytes pass everywhere.
    private static let maximumPathBytes = 2048

    /// Percent-encoded but for RFC 3986's unreserved characters.
    static func encoded(_ bytes: Bytes) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "~"):
                text.append(byte)
            default: text += [UInt8(ascii: "%"), RESTBody.hexDigits[Int(byte >> 4)], RESTBody.hexDigits[Int(byte & 15)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func reads(_ arguments: [Bytes]) -> Bool {
        arguments.first.flatMap { CommandTable.shared[$0] }?.flags.contains(.readOnly) ?? false
    }
}
