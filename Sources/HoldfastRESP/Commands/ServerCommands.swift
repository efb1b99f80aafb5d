import HoldfastStore

/// What people and their tools ask about the server: INFO, CONFIG, SLOWLOG, MONITOR.
enum ServerCommands {
    typealias Entry = CommandDirectory.Entry

    static let all: [Entry] =
        [
            Entry("INFO", arity: -1, [], "server") { call in
                let sections = call.rest.map { $0.lossyString.lowercased() }
                call.client.writer.verbatim(Bytes(ServerInfo(endpoint: call.endpoint).text(sections)))
            },
            Entry("CONFIG", arity: -2, [.admin, .hidden, .secret], "server", run: config),
            Entry("SLOWLOG", arity: -2, [.admin, .hidden], "server", run: slowlog),
            Entry("MONITOR", arity: 1, [.admin, .hidden], "server") { call in
                call.endpoint.monitor(call.client, true)
                call.client.writer.ok()
            },
            Entry("ROLE", arity: 1, [.readOnly], "server") { call in
                call.client.writer.reply(.array([.bytes("master"), .integer(0), .array([])]))
            },
            Entry("MODULE", arity: -2, [.admin, .hidden], "server") { call throws(ReplyError) in
                guard call.subcommand == "LIST" else { throw call.unknownSubcommand }
                call.client.writer.array(0)
            },
            Entry("ACL", arity: -2, [.admin, .hidden, .secret], "server") { call throws(ReplyError) in
                guard call.subcommand == "WHOAMI" else { throw call.unknownSubcommand }
                call.client.writer.bulk("default")
            },
            Entry("CLUSTER", arity: -2, [.admin], "cluster") { _ throws(ReplyError) in
                throw ReplyError("ERR This instance has cluster support disabled")
            },
        ] + scripting

    /// Procedures are stated twice, as Lua and as Swift; there is no Lua here to run anybody's own.
    private static let scripting = ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "SCRIPT", "FUNCTION", "FCALL", "FCALL_RO"].map {
        name in
        Entry(name, arity: -2, [], "scripting") { call throws(ReplyError) in
            // There are none, which tools that look for them take for an answer.
            if name == "FUNCTION", call.subcommand == "LIST" { return call.client.writer.array(0) }
            throw ReplyError(
                "ERR \(name): user Lua runs on servers only; this is Holdfast's embedded store, so connect to a Redis server for it"
            )
        }
    }

    // MARK: - CONFIG

    private static func config(_ call: Call) throws(ReplyError) {
        switch call.subcommand {
        case "GET":
            try call.expect(3...)
            let globs = call.arguments.dropFirst(2).map { Glob($0.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }) }
            let found = settings(call.endpoint).filter { setting in globs.contains { $0.matches(Bytes(setting.0)) } }
            call.client.writer.map(found.count)
            for (name, value) in found {
                call.client.writer.bulk(name)
                call.client.writer.bulk(value)
            }
        case "SET":
            try call.expect(4...)
            try set(call)
            call.client.writer.ok()
        case "RESETSTAT":
            try call.expect(2)
            call.endpoint.resetStatistics()
            call.client.writer.ok()
        case "REWRITE": throw ReplyError("ERR The server is running without a config file")
        default: throw call.unknownSubcommand
        }
    }

    /// What can be set while it runs is about looking, not about the store.
    private static func set(_ call: Call) throws(ReplyError) {
        let pairs = Array(call.arguments.dropFirst(2))
        guard pairs.count.isMultiple(of: 2) else { throw .wrongArity("config|set") }
        var slowLog = call.endpoint.slowLog
        for index in stride(from: 0, to: pairs.count, by: 2) {
            let failed = "ERR CONFIG SET failed (possibly related to argument '\(pairs[index].shown(64))') - "
            let number = pairs[index + 1].integer
            switch (pairs[index].lossyString.lowercased(), number) {
            case ("slowlog-log-slower-than", let number?) where number.magnitude <= 1_000_000_000: slowLog.threshold = number
            case ("slowlog-max-len", let number?) where 0...Int64(SlowLog.highestLimit) ~= number: slowLog.limit = Int(number)
            case ("slowlog-log-slower-than", _), ("slowlog-max-len", _):
                throw ReplyError(failed + "argument must be a number within its range")
            default:
                throw ReplyError(failed + "settings are changed by restarting holdfast with others; see docs/CONFIGURATION.md")
            }
        }
        call.endpoint.slowLog = slowLog
    }

    /// What is true of this server, under Redis's names.
    private static func settings(_ endpoint: Endpoint) -> [(String, String)] {
        let limits = endpoint.store.withKeyspace { $0.limits }
        let configuration = endpoint.configuration
        return [
            ("appendonly", "no"),
            ("bind", configuration.host),
            ("client-query-buffer-limit", "\(configuration.requestLimits.bufferBytes)"),
            ("databases", "1"),
            ("maxclients", "\(configuration.maximumClients)"),
            ("maxmemory", "\(limits.maximumBytes)"),
            ("maxmemory-policy", limits.policy.rawValue),
            ("port", "\(endpoint.port)"),
            ("proto-max-bulk-len", "\(configuration.requestLimits.argumentBytes)"),
            ("save", ""),
            ("slowlog-log-slower-than", "\(endpoint.slowLog.threshold)"),
            ("slowlog-max-len", "\(endpoint.slowLog.limit)"),
            ("timeout", "0"),
        ]
    }

    // MARK: - SLOWLOG

    private static func slowlog(_ call: Call) throws(ReplyError) {
        switch call.subcommand {
        case "LEN":
            try call.expect(2)
            call.client.writer.integer(call.endpoint.slowLog.entries.count)
        case "RESET":
            try call.expect(2)
            call.endpoint.slowLog.removeAll()
            call.client.writer.ok()
        case "GET":
            try call.expect(2...3)
            var count: Int64 = 10
            if call.arguments.count == 3 {
                guard let given = call.arguments[2].integer, given >= -1 else {
                    throw ReplyError("ERR count should be greater than or equal to -1")
                }
                count = given == -1 ? .max : given
            }
            show(call.endpoint.slowLog.entries.prefix(Int(clamping: count)).map(\.self), call.client)
        default: throw call.unknownSubcommand
        }
    }

    private static func show(_ entries: [SlowLog.Entry], _ client: Client) {
        client.writer.array(entries.count)
        for entry in entries {
            client.writer.array(6)
            client.writer.integer(entry.id)
            client.writer.integer(entry.moment.milliseconds / 1000)
            client.writer.integer(Int64(entry.duration.inSeconds * 1_000_000))
            client.writer.reply(Reply(bytes: entry.arguments))
            client.writer.bulk(entry.address)
            client.writer.bulk(entry.name)
        }
    }
}
