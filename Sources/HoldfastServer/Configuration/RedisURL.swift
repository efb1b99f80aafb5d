/// `redis://`, `rediss://`, `unix://` or `redis+unix://`, taken apart. What the URL does not say is nil.
struct RedisURL: Sendable, Hashable {
    var usesTLS = false
    var host: String?
    var port: Int?
    var socketPath: String?
    var username: String?
    var password: String?
    var database: Int?
    var certificateRequirements: HoldfastConfiguration.Redis.CertificateRequirements?

    static let accepted = "redis://, rediss://, unix:// or redis+unix://, as in redis://user:password@host:6379/0"

    /// Nil where it is no such URL. Escaped parts are decoded; a password with a bare `@`, `:`, `/` or `%` is understood too,
    /// because the last `@` ends it and a `%` without two hexadecimal digits stands for itself.
    init?(_ text: String) {
        guard let mark = text.firstRange(of: "://") else { return nil }
        var rest = text[mark.upperBound...]
        if let query = rest.lastIndex(of: "?"), !rest[query...].contains("@") {
            guard readQuery(rest[rest.index(after: query)...]) else { return nil }
            rest = rest[..<query]
        }
        switch text[..<mark.lowerBound].lowercased() {
        case "redis": guard readServer(rest) else { return nil }
        case "rediss":
            usesTLS = true
            guard readServer(rest) else { return nil }
        case "unix", "redis+unix", "redis+socket": guard readSocket(rest) else { return nil }
        default: return nil
        }
    }

    private mutating func readServer(_ text: Substring) -> Bool {
        var rest = text
        if let at = rest.lastIndex(of: "@") {
            readCredentials(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            let path = rest[rest.index(after: slash)...]
            if !path.isEmpty {
                guard let number = Self.database(path) else { return false }
                database = number
            }
            rest = rest[..<slash]
        }
        guard let (name, number) = HostAndPort.split(String(rest)) else { return false }
        host = name.isEmpty ? nil : PercentText.decode(name)
        port = number
        return true
    }

    private mutating func readSocket(_ text: Substring) -> Bool {
        var path = text
        if !path.hasPrefix("/"), let end = path.firstRange(of: "@/") {
            readCredentials(path[..<end.lowerBound])
            path = path[path.index(after: end.lowerBound)...]
        }
        guard path.hasPrefix("/"), path.count > 1 else { return false }
        socketPath = PercentText.decode(path)
        return true
    }

    private mutating func readCredentials(_ text: Substring) {
        let colon = text.firstIndex(of: ":")
        let name = PercentText.decode(text[..<(colon ?? text.endIndex)])
        username = name.isEmpty ? nil : name
        if let colon {
            let word = PercentText.decode(text[text.index(after: colon)...])
            password = word.isEmpty ? nil : word
        }
    }

    /// The parameters of redis-py's URLs that say something about the server.
    private mutating func readQuery(_ text: Substring) -> Bool {
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1).map(PercentText.decode)
            guard parts.count == 2 else { return false }
            switch parts[0] {
            case "db":
                guard let number = Self.database(parts[1]) else { return false }
                database = number
            case "username": username = parts[1]
            case "password": password = parts[1]
            case "ssl_cert_reqs":
                guard let value = HoldfastConfiguration.Redis.CertificateRequirements(rawValue: parts[1]) else { return false }
                certificateRequirements = value
            default: return false
            }
        }
        return true
    }

    private static func database(_ text: some StringProtocol) -> Int? {
        guard let number = Int(text), SettingKind<Int>.databases.contains(number) else { return nil }
        return number
    }

    /// The URL's text without its secrets, for messages; made for texts that may be no URL at all.
    static func redact(_ text: String) -> String {
        let start = text.firstRange(of: "://")?.upperBound ?? text.startIndex
        var rest = text[start...]
        var tail = Substring()
        if let query = rest.lastIndex(of: "?") {
            tail = rest[query...].contains("=") ? "?\(Secret.redacted)" : ""
            if rest[query...].contains("@") { tail = "" } else { rest = rest[..<query] }
        }
        guard let at = rest.lastIndex(of: "@") else { return "\(text[..<start])\(rest)\(tail)" }
        let name = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
        let hasPassword = rest[..<at].contains(":")
        let user = hasPassword ? "\(name):\(Secret.redacted)" : Secret.redacted
        return "\(text[..<start])\(user)\(rest[at...])\(tail)"
    }
}

enum PercentText {
    /// Decodes `%XX`; a `%` without two hexadecimal digits stands for itself, and so does what is no UTF-8.
    static func decode(_ text: some StringProtocol) -> String {
        var bytes: [UInt8] = []
        let source = Array(text.utf8)
        var index = 0
        while index < source.count {
            if source[index] == UInt8(ascii: "%"), index + 2 < source.count,
                let high = hexValue(source[index + 1]), let low = hexValue(source[index + 2])
            {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(source[index])
                index += 1
            }
        }
        return String(validating: bytes, as: UTF8.self) ?? String(text)
    }

    static func hexValue(_ digit: UInt8) -> UInt8? { Character(UnicodeScalar(digit)).hexDigitValue.map(UInt8.init) }
}
