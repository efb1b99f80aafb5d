import HoldfastStore

/// What a server sends over a connection that it tells of changes, as a value: an announcement, or the answer to a command.
///
/// In RESP3 announcements are pushes; in RESP2 they are messages of a channel that the connection has subscribed to.
enum InvalidationMessage: Equatable {
    case changed([Key])
    /// Null in place of keys: FLUSHALL, FLUSHDB, or the server itself begins anew.
    case flushed
    case answer(Reply)
    case nothing

    static let channel: Bytes = "__redis__:invalidate"

    init(_ item: RESPItem) {
        switch item {
        case .push(let parts) where parts.first?.bytes == "invalidate" && parts.count == 2: self.init(keys: parts[1])
        case .push: self = .nothing
        case .reply(.array(let parts))
        where parts.count == 3 && parts[0].bytes == "message" && parts[1].bytes == Self.channel:
            self.init(keys: parts[2])
        case .reply(let reply): self = .answer(reply)
        }
    }

    /// What is no list of keys is taken for the worst.
    private init(keys: Reply) {
        guard let keys = keys.list else {
            self = .flushed
            return
        }
        self = .changed(keys.map(Key.init(raw:)))
    }
}
