import HTTPTypes
import Holdfast
import HoldfastStore

/// What a request of Upstash's protocol asks for.
enum UpstashRequest: Sendable, Hashable {
    case command([Bytes])
    /// One after the other, each for itself.
    case pipeline([[Bytes]])
    /// All together or none.
    case transaction([[Bytes]])
}

/// A request's URL, taken apart before its caller is known: the path behind `/upstash`, and the query.
struct UpstashTarget: Sendable {
    static let root = "/upstash"

    /// Percent-decoded; they need not be text.
    let segments: [Bytes]
    let query: [(name: Bytes, value: Bytes)]
    /// The value of `_token`, which is no argument.
    let token: String?

    /// Whether a URL is of this protocol.
    static func owns(_ url: String) -> Bool {
        guard url.hasPrefix(root) else { return false }
        return url.utf8.count == root.utf8.count || "/?#".contains(url[url.index(url.startIndex, offsetBy: root.count)])
    }

    /// Nil where the percent-encoding is broken.
    init?(_ url: String) {
        let parts = url.prefix { $0 != "#" }.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var pieces = parts[0].dropFirst(Self.root.count + 1).split(separator: "/", omittingEmptySubsequences: false)
        // A slash at the end is no empty argument.
        if pieces.last?.isEmpty == true { pieces.removeLast() }
        var segments: [Bytes] = []
        for piece in pieces {
            guard let bytes = PercentEncoding.bytes(piece) else { return nil }
            segments.append(Bytes(bytes))
        }
        let read = { (text: Substring) in PercentEncoding.bytes(text, plusIsSpace: true).map { Bytes($0) } }
        guard let members = PercentEncoding.members(parts.count > 1 ? parts[1] : "", read) else { return nil }
        self.segments = segments
        query = members.filter { $0.name != "_token" }
        token = members.last { $0.name == "_token" }?.value.string
    }

    /// The word that makes it more than a command, such as `pipeline`.
    private var verb: String? { segments.first.map { $0.lossyString.lowercased() } }

    /// What is asked for.
    ///
    /// - Throws: the error line where it cannot be understood.
    func request(_ method: HTTPRequest.Method, body: some Collection<UInt8>) throws(ReplyError) -> UpstashRequest {
        switch verb {
        case nil: return .command(try Self.command(Self.json(body)))
        case "pipeline" where segments.count == 1: return .pipeline(try Self.commands(Self.json(body)))
        case "multi-exec" where segments.count == 1: return .transaction(try Self.commands(Self.json(body)))
        default: break
        }
        // `/SET/key?EX=100` with the value as its body: value first, options behind it.
        var arguments = segments
        if method == .post || method == .put, !body.isEmpty { arguments.append(Bytes(Array(body))) }
        for (name, value) in query { arguments += value.isEmpty ? [name] : [name, value] }
        return .command(arguments)
    }

    /// What is listened to: `subscribe` or `psubscribe` with its channels or patterns, or `monitor`.
    struct Stream: Sendable {
        let verb: String
        let names: [Bytes]
    }

    /// The stream that is asked for; nil for what has one answer.
    func stream(_ method: HTTPRequest.Method) throws(ReplyError) -> Stream? {
        guard let verb, Self.streams.contains(verb) else { return nil }
        let names = Array(segments.dropFirst())
        guard method != .head else { throw ReplyError("ERR a stream has no HEAD") }
        guard (verb == "monitor") == names.isEmpty else { throw .wrongArity(verb) }
        guard names.count <= Self.maximumChannels else {
            throw ReplyError("ERR more than \(Self.maximumChannels) channels in one request")
        }
        return Stream(verb: verb, names: names)
    }

    private static let streams: Set<String> = ["subscribe", "psubscribe", "monitor"]
    static let maximumChannels = 100

    // MARK: - Commands as JSON

    private static func json(_ body: some Collection<UInt8>) throws(ReplyError) -> JSONValue {
        guard !body.isEmpty else { throw ReplyError("ERR empty command") }
        guard let json = JSONValue(json: body) else {
            throw ReplyError("ERR failed to parse the request: the body is no valid JSON")
        }
        return json
    }

    private static func commands(_ json: JSONValue) throws(ReplyError) -> [[Bytes]] {
        guard let rows = json.array, !rows.isEmpty else {
            throw ReplyError("ERR failed to parse the request: the body must be an array of commands")
        }
        var commands: [[Bytes]] = []
        for row in rows { commands.append(try command(row)) }
        return commands
    }

    private static func command(_ json: JSONValue) throws(ReplyError) -> [Bytes] {
        guard let words = json.array, !words.isEmpty else {
            throw ReplyError("ERR failed to parse the request: a command is an array with its name first")
        }
        var arguments: [Bytes] = []
        arguments.reserveCapacity(words.count)
        for word in words {
            switch word {
            case .string(let text): arguments.append(Bytes(text))
            case .integer(let number): arguments.append(Bytes(number))
            case .double(let number): arguments.append(Bytes(number.description))
            case .number(let number): arguments.append(Bytes(number.text))
            case .bool(let flag): arguments.append(flag ? "true" : "false")
            case .null, .array, .object:
                throw ReplyError("ERR failed to parse the request: an argument must be a string, a number or a boolean")
            }
        }
        return arguments
    }
}
