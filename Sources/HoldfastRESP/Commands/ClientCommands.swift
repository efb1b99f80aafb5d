import HoldfastStore

/// CLIENT: who is connected.
enum ClientCommands {
    static let all: [CommandDirectory.Entry] = [
        CommandDirectory.Entry("CLIENT", arity: -2, [.hidden], "connection", run: client)
    ]

    private static func client(_ call: Call) throws(ReplyError) {
        switch call.subcommand {
        case "ID":
            try call.expect(2)
            call.client.writer.integer(call.client.id)
        case "GETNAME":
            try call.expect(2)
            if call.client.name.isEmpty { call.client.writer.null() } else { call.client.writer.bulk(call.client.name) }
        case "SETNAME":
            try call.expect(3)
            call.client.name = try checkedName(call.arguments[2])
            call.client.writer.ok()
        case "SETINFO": try setInfo(call)
        case "INFO":
            try call.expect(2)
            call.client.writer.verbatim(Bytes(line(call.client, call.endpoint) + "\n"))
        case "LIST": try list(call)
        case "KILL": try kill(call)
        case "NO-EVICT": call.client.isProtectedFromEviction = try isOn(call)
        case "NO-TOUCH": call.client.keepsUsage = try isOn(call)
        case "REPLY": try reply(call)
        case "GETREDIR":
            try call.expect(2)
            call.client.writer.integer(-1)
        case "TRACKING", "CACHING", "TRACKINGINFO": throw ReplyError("ERR client-side caching is not served here")
        default: throw call.unknownSubcommand
        }
    }

    static func checkedName(_ name: Bytes) throws(ReplyError) -> Bytes {
        guard name.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw ReplyError("ERR Client names cannot contain spaces, newlines or special characters.")
        }
        return name.compacted()
    }

    private static func setInfo(_ call: Call) throws(ReplyError) {
        try call.expect(4)
        let value = call.arguments[3]
        guard value.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw ReplyError("ERR \(call.arguments[2].shown(64)) cannot contain spaces, newlines or special characters.")
        }
        switch call.arguments[2].lossyString.uppercased() {
        case "LIB-NAME": call.client.libraryName = value.compacted()
        case "LIB-VER": call.client.libraryVersion = value.compacted()
        default: throw ReplyError("ERR Unrecognized option '\(call.arguments[2].shown(64))'")
        }
        call.client.writer.ok()
    }

    private static func isOn(_ call: Call) throws(ReplyError) -> Bool {
        try call.expect(3)
        switch call.arguments[2].lossyString.uppercased() {
        case "ON":
            call.client.writer.ok()
            return true
        case "OFF":
            call.client.writer.ok()
            return false
        default: throw .syntax
        }
    }

    private static func reply(_ call: Call) throws(ReplyError) {
        try call.expect(3)
        switch call.arguments[2].lossyString.uppercased() {
        case "ON":
            call.client.answers = .all
            call.client.writer.ok()
        case "OFF": call.client.answers = .none
        case "SKIP": if call.client.answers == .all { call.client.answers = .skipNext }
        default: throw .syntax
        }
    }

    // MARK: - CLIENT LIST

    private static func list(_ call: Call) throws(ReplyError) {
        var listed = call.endpoint.clients.values.sorted { $0.id < $1.id }
        if call.arguments.count > 2 {
            switch call.arguments[2].lossyString.uppercased() {
            case "TYPE" where call.arguments.count == 4:
                let type = try type(call.arguments[3])
                listed = listed.filter { self.type(of: $0) == type }
            case "ID" where call.arguments.count > 3:
                var ids: Set<Int64> = []
                for text in call.arguments.dropFirst(3) {
                    guard let id = text.integer, id > 0 else { throw ReplyError("ERR Invalid client ID") }
                    ids.insert(id)
                }
                listed = listed.filter { ids.contains(Int64($0.id)) }
            default: throw .syntax
            }
        }
        let text = listed.map { line($0, call.endpoint) + "\n" }.joined()
        call.client.writer.verbatim(Bytes(text))
    }

    private static func type(_ name: Bytes) throws(ReplyError) -> String {
        let type = name.lossyString.lowercased()
        guard ["normal", "master", "slave", "replica", "pubsub"].contains(type) else {
            throw ReplyError("ERR Unknown client type '\(name.shown(64))'")
        }
        return type
    }

    private static func type(of client: Client) -> String { client.subscriptionCount > 0 ? "pubsub" : "normal" }

    static func line(_ client: Client, _ endpoint: Endpoint) -> String {
        let now = endpoint.time.now
        var flags = ""
        if client.isMonitor { flags += "O" }
        if client.subscriptionCount > 0 { flags += "P" }
        if client.transaction != nil { flags += "x" }
        if client.isProtectedFromEviction { flags += "e" }
        if client.keepsUsage { flags += "T" }
        let seconds = { (moment: Timestamp) in max(0, (now - moment).milliseconds) / 1000 }
        return "id=\(client.id) addr=\(client.address) laddr=\(client.localAddress) fd=-1 name=\(client.name) "
            + "age=\(seconds(client.connectedAt)) idle=\(seconds(client.lastActive)) flags=\(flags.isEmpty ? "N" : flags) db=0 "
            + "sub=\(client.channels.count) psub=\(client.patterns.count) ssub=\(client.shardChannels.count) "
            + "multi=\(client.transaction?.commands.count ?? -1) qbuf=\(client.parser.pendingBytes) qbuf-free=0 argv-mem=0 "
            + "multi-mem=\(client.transaction?.bytes ?? 0) rbs=0 rbp=0 obl=0 oll=0 omem=\(client.writer.count) "
            + "tot-mem=\(client.parser.pendingBytes + client.writer.count) events=r cmd=\(client.shownCommand) user=default "
            + "redir=-1 resp=\(client.writer.isRESP3 ? 3 : 2) lib-name=\(client.libraryName) lib-ver=\(client.libraryVersion)"
    }

    // MARK: - CLIENT KILL

    private static func kill(_ call: Call) throws(ReplyError) {
        try call.expect(3...)
        if call.arguments.count == 3 {
            let address = call.arguments[2].lossyString
            guard let found = call.endpoint.clients.values.first(where: { $0.address == address }) else {
                throw ReplyError("ERR No such client")
            }
            call.client.writer.ok()
            end(found, call)
            return
        }
        var keeps: [(Client) -> Bool] = []
        var skipsSelf = true
        var index = 2
        while index < call.arguments.count {
            guard index + 1 < call.arguments.count else { throw .syntax }
            let value = call.arguments[index + 1]
            switch call.arguments[index].lossyString.uppercased() {
            case "ID":
                guard let id = value.integer, id > 0 else { throw ReplyError("ERR client-id should be greater than 0") }
                keeps.append { $0.id == id }
            case "ADDR": keeps.append { [text = value.lossyString] in $0.address == text }
            case "LADDR": keeps.append { [text = value.lossyString] in $0.localAddress == text }
            case "TYPE":
                let type = try type(value)
                keeps.append { self.type(of: $0) == type }
            case "USER":
                guard value == "default" else { throw ReplyError("ERR No such user '\(value.shown(64))'") }
            case "SKIPME":
                switch value.lossyString.uppercased() {
                case "YES": skipsSelf = true
                case "NO": skipsSelf = false
                default: throw .syntax
                }
            default: throw .syntax
            }
            index += 2
        }
        let killed = call.endpoint.clients.values.filter { client in
            keeps.allSatisfy { $0(client) } && !(skipsSelf && client === call.client)
        }
        call.client.writer.integer(killed.count)
        for client in killed { end(client, call) }
    }

    private static func end(_ client: Client, _ call: Call) {
        if client === call.client { client.isClosing = true } else { client.connection?.end() }
    }
}
