/// Publishing. Subscribing has its own door, ``Store/withSubscription(to:_:)``.
public enum PubSubOperation: Hashable, Sendable {
    case publish(Channel, Bytes)
    case spublish(Channel, Bytes)
}

extension PubSubOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .publish: "PUBLISH"
        case .spublish: "SPUBLISH"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .publish(let channel, let payload), .spublish(let channel, let payload):
            writer.append(channel.bytes)
            writer.append(payload)
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("PUBLISH", arity: 3, [], keys: .none) { r throws(ReplyError) in
            .pubSub(.publish(Channel(try r.bytes()), try r.bytes()))
        },
        // Its channel lies in a slot, and so counts as a key.
        CommandSpec("SPUBLISH", arity: 3, [], keys: .first) { r throws(ReplyError) in
            .pubSub(.spublish(Channel(try r.bytes()), try r.bytes()))
        },
    ]
}

extension Command where Output == Int {
    /// Sends a message to whoever listens now, and answers how many subscriptions got it (on a server: of this node).
    public static func publish(_ channel: Channel, _ payload: Bytes) -> Self {
        Command(count: .pubSub(.publish(channel, payload)))
    }

    /// Sends a message to whoever listens to the shard channel now (``ChannelSelector/shardChannel(_:)``), and answers how many
    /// subscriptions of its node got it.
    public static func spublish(_ channel: Channel, _ payload: Bytes) -> Self {
        Command(count: .pubSub(.spublish(channel, payload)))
    }
}
