import HoldfastStore

/// Publishing and listening.
enum PubSubCommands {
    static let all: [CommandDirectory.Entry] = [
        CommandDirectory.Entry("PUBLISH", arity: 3, [.pubSub], "pubsub") { call in
            let count = call.endpoint.store.subscribers.publish(call.arguments[2], on: Channel(call.arguments[1]))
            call.client.writer.integer(count)
        },
        CommandDirectory.Entry("SUBSCRIBE", arity: -2, [.pubSub, .whileListening], "pubsub") { call throws(ReplyError) in
            for name in call.rest { try subscribe(.channel(Channel(name.compacted())), "subscribe", call) }
        },
        CommandDirectory.Entry("PSUBSCRIBE", arity: -2, [.pubSub, .whileListening], "pubsub") { call throws(ReplyError) in
            for pattern in call.rest { try subscribe(.pattern(pattern.compacted()), "psubscribe", call) }
        },
        CommandDirectory.Entry("UNSUBSCRIBE", arity: -1, [.pubSub, .whileListening], "pubsub") { call in
            let names = call.rest.isEmpty ? call.client.channels.map(\.bytes) : Array(call.rest)
            unsubscribe(names.map { .channel(Channel($0)) }, "unsubscribe", call)
        },
        CommandDirectory.Entry("PUNSUBSCRIBE", arity: -1, [.pubSub, .whileListening], "pubsub") { call in
            let patterns = call.rest.isEmpty ? Array(call.client.patterns) : Array(call.rest)
            unsubscribe(patterns.map { .pattern($0) }, "punsubscribe", call)
        },
        CommandDirectory.Entry("SPUBLISH", arity: 3, [.pubSub], "pubsub") { call in
            let count = call.endpoint.store.subscribers.publish(call.arguments[2], onShard: Channel(call.arguments[1]))
            call.client.writer.integer(count)
        },
        CommandDirectory.Entry("SSUBSCRIBE", arity: -2, [.pubSub, .whileListening], "pubsub") { call throws(ReplyError) in
            for name in call.rest { try subscribe(.shardChannel(Channel(name.compacted())), "ssubscribe", call) }
        },
        CommandDirectory.Entry("SUNSUBSCRIBE", arity: -1, [.pubSub, .whileListening], "pubsub") { call in
            let names = call.rest.isEmpty ? call.client.shardChannels.map(\.bytes) : Array(call.rest)
            unsubscribe(names.map { .shardChannel(Channel($0)) }, "sunsubscribe", call)
        },
        CommandDirectory.Entry("PUBSUB", arity: -2, [.pubSub], "pubsub", run: pubsub),
    ]

    private static func subscribe(_ selector: ChannelSelector, _ word: String, _ call: Call) throws(ReplyError) {
        let (client, endpoint) = (call.client, call.endpoint)
        guard client.subscriptionCount < endpoint.configuration.maximumSubscriptions else {
            throw ReplyError("ERR too many subscriptions")
        }
        guard let connection = client.connection else { return }
        let subscriber =
            client.subscriber
            ?? ClientSubscriber(client, loop: connection.eventLoop, limit: endpoint.configuration.listenerOutputBytes)
        client.subscriber = subscriber
        // The confirmation stands before the first message.
        switch selector {
        case .channel(let channel): client.channels.insert(channel)
        case .pattern(let pattern): client.patterns.insert(pattern)
        case .shardChannel(let channel): client.shardChannels.insert(channel)
        }
        confirm(word, selector.name, client)
        endpoint.store.subscribers.subscribe(subscriber, to: [selector])
    }

    private static func unsubscribe(_ selectors: [ChannelSelector], _ word: String, _ call: Call) {
        guard !selectors.isEmpty else { return confirm(word, nil, call.client) }
        for selector in selectors {
            if let subscriber = call.client.subscriber {
                call.endpoint.store.subscribers.unsubscribe(subscriber, from: [selector])
            }
            switch selector {
            case .channel(let channel): call.client.channels.remove(channel)
            case .pattern(let pattern): call.client.patterns.remove(pattern)
            case .shardChannel(let channel): call.client.shardChannels.remove(channel)
            }
            confirm(word, selector.name, call.client)
        }
    }

    private static func confirm(_ word: String, _ name: Bytes?, _ client: Client) {
        client.writer.push(3)
        client.writer.bulk(word)
        if let name { client.writer.bulk(name) } else { client.writer.null() }
        // As Redis counts: shard channels by themselves.
        let isShard = word.hasPrefix("s") && word != "subscribe"
        client.writer.integer(isShard ? client.shardChannels.count : client.channels.count + client.patterns.count)
    }

    // MARK: - PUBSUB

    private static func pubsub(_ call: Call) throws(ReplyError) {
        let subscribers = call.endpoint.store.subscribers
        switch call.subcommand {
        case "CHANNELS": try list(subscribers.channels, call)
        case "SHARDCHANNELS": try list(subscribers.shardChannels, call)
        case "NUMSUB": count(subscribers.channels, call)
        case "SHARDNUMSUB": count(subscribers.shardChannels, call)
        case "NUMPAT":
            try call.expect(2)
            call.client.writer.integer(subscribers.patternCount)
        default: throw call.unknownSubcommand
        }
    }

    private static func list(_ channels: [(channel: Channel, count: Int)], _ call: Call) throws(ReplyError) {
        try call.expect(2...3)
        let glob = call.arguments.count == 3 ? Glob(call.arguments[2]) : nil
        call.client.writer.reply(Reply(bytes: channels.map(\.channel.bytes).filter { glob?.matches($0) ?? true }))
    }

    private static func count(_ channels: [(channel: Channel, count: Int)], _ call: Call) {
        let counts = Dictionary(channels.map { ($0.channel.bytes, $0.count) }) { first, _ in first }
        let names = call.arguments.dropFirst(2)
        // A map in all but its type, also in RESP3.
        call.client.writer.array(names.count * 2)
        for name in names {
            call.client.writer.bulk(name)
            call.client.writer.integer(counts[name] ?? 0)
        }
    }
}

extension ChannelSelector {
    fileprivate var name: Bytes {
        switch self {
        case .channel(let channel), .shardChannel(let channel): channel.bytes
        case .pattern(let pattern): pattern
        }
    }
}

extension Reply {
    init(bytes list: some Sequence<Bytes>) { self = .array(list.map(Reply.bytes)) }
}
