import HoldfastStore

/// How a server knows one of our connections, so that the next one can end it there.
///
/// A connection that is lost here may live on there: a network that was cut keeps what was sent and delivers it when it heals, after what
/// has been sent anew meanwhile. An older write then replaces a newer one. So a connection whose predecessor was lost with unanswered
/// commands ends that on the server before it sends anything else: what has not arrived by then is not carried out any more.
///
/// By number and address, because a server that was started again counts from the beginning and would end a stranger's.
struct ServerSideIdentity: Equatable, Sendable {
    let id: Bytes
    let address: Bytes

    static let question: [Bytes] = ["CLIENT", "INFO"]

    /// Ends that connection, if it is there still. Who may not call it (`NOPERM`) goes without.
    var ending: [Bytes] { ["CLIENT", "KILL", "ID", id, "ADDR", address] }

    /// Reads the server's answer: words `name=value`. Nil where it has none, and for a Unix socket: all its clients have one address, and
    /// no network keeps anything.
    init?(_ reply: Reply) {
        guard let line = reply.bytes?.string else { return nil }
        var values: [Substring: Substring] = [:]
        for word in line.split(whereSeparator: \.isWhitespace).prefix(2) {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard let id = values["id"], let address = values["addr"], !address.hasPrefix("/") else { return nil }
        self.id = Bytes(String(id))
        self.address = Bytes(String(address))
    }
}
