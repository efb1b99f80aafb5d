import HoldfastStore

/// What a server says of itself and of the connection, where it says it.
struct ServerSelf {
    var version: Int64 = 2
    var role: Bytes?

    /// Reads the reply to HELLO: a map, or in RESP2 its keys and values by turns.
    init(_ hello: Reply) {
        version = Self.value("proto", in: hello)?.integer ?? 2
        role = Self.value("role", in: hello)?.bytes
    }

    /// The server's identity, which a restart changes, in the reply to INFO; nil where it is not told.
    static func runID(_ info: Reply?) -> Bytes? {
        guard case .bytes(let text)? = info else { return nil }
        let line = text.lossyString.split(whereSeparator: \.isNewline).first { $0.hasPrefix("run_id:") }
        return line.map { Bytes(String($0.dropFirst("run_id:".count))) }
    }

    /// To which connection this one's invalidations go, in the reply to CLIENT TRACKINGINFO.
    static func redirection(_ info: Reply) -> Bytes? { value("redirect", in: info)?.bytes }

    private static func value(_ name: Bytes, in reply: Reply) -> Reply? {
        let parts = reply.elements ?? []
        let place = stride(from: 0, to: parts.count - 1, by: 2).first { parts[$0].bytes == name }
        return place.map { parts[$0 + 1] }
    }
}
