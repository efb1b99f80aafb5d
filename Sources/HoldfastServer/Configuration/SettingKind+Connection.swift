import HoldfastStore

/// What a URL variable may hold.
enum ConnectionURL: Sendable, Hashable {
    case native(RedisURL)
    case rest(String)
}

/// A value together with the text that it was read from.
struct Written<Value: Sendable>: Sendable {
    let value: Value
    let text: String
}

extension SettingKind where Value == Written<ConnectionURL> {
    /// A native URL, or a REST endpoint as well.
    static let upstashURL = url(accepted: RedisURL.accepted + ", or an https:// URL for REST") { text in
        RedisURL(text).map(ConnectionURL.native) ?? SettingKind<String>.restURL.parse(text).map(ConnectionURL.rest)
    }

    static let redisURL = url(accepted: RedisURL.accepted + " (an https:// URL belongs in UPSTASH_REDIS_REST_URL)") { text in
        RedisURL(text).map(ConnectionURL.native)
    }

    private static func url(
        accepted: String, parse: @escaping @Sendable (String) -> ConnectionURL?
    ) -> SettingKind {
        SettingKind(
            accepted: accepted,
            parse: { text in parse(text).map { Written(value: $0, text: text) } },
            format: \.text,
            redact: RedisURL.redact
        )
    }
}

extension SettingKind where Value == [HostAndPort] {
    static func nodes(defaultPort: Int) -> SettingKind {
        SettingKind(
            accepted: "host:port pairs separated by commas, as in one:\(defaultPort),two:\(defaultPort)",
            parse: { text in
                let nodes = text.split(separator: ",", omittingEmptySubsequences: false).map { part in
                    HostAndPort(String(part.trimmed), defaultPort: defaultPort)
                }
                return nodes.contains(nil) ? nil : nodes.compactMap(\.self)
            },
            format: { nodes in nodes.map(\.description).joined(separator: ",") }
        )
    }
}

extension SettingKind where Value == HostAndPort {
    /// Where to listen.
    static let address = SettingKind(
        accepted: "host:port, as in 127.0.0.1:6380",
        parse: { text in
            guard let (host, port) = HostAndPort.split(text, ports: 0...65535), !host.isEmpty, let port else { return nil }
            return HostAndPort(host: host, port: port)
        },
        format: \.description
    )
}

extension StringProtocol {
    /// Without white space at both ends.
    var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
