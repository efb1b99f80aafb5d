import HoldfastStore

/// What a client says about itself and its connection.
enum ConnectionCommands {
    typealias Entry = CommandDirectory.Entry

    static let all: [Entry] = [
        Entry("HELLO", arity: -1, [.noAuth, .hidden, .secret], "connection", run: hello),
        Entry("AUTH", arity: -2, [.noAuth, .hidden, .secret], "connection", run: auth),
        Entry("SELECT", arity: 2, [], "connection", run: select),
        Entry("QUIT", arity: -1, [.noAuth, .notQueued, .whileListening], "connection") { call in
            call.client.writer.ok()
            call.client.isClosing = true
        },
        Entry("RESET", arity: 1, [.noAuth, .notQueued, .whileListening], "connection", run: reset),
        Entry("PING", arity: -1, [.readOnly, .whileListening], "connection", run: ping),
        Entry("ECHO", arity: 2, [.readOnly], "connection") { call in call.client.writer.bulk(call.arguments[1]) },
    ]

    private static func ping(_ call: Call) throws(ReplyError) {
        guard call.arguments.count <= 2 else { throw .wrongArity("ping") }
        if call.client.onlyListens {
            call.client.writer.array(2)
            call.client.writer.bulk("pong")
            call.client.writer.bulk(call.rest.first ?? Bytes())
        } else if let text = call.rest.first {
            call.client.writer.bulk(text)
        } else {
            call.client.writer.status("PONG")
        }
    }

    private static func select(_ call: Call) throws(ReplyError) {
        guard let index = call.arguments[1].integer else { throw .notAnInteger }
        guard index == 0 else { throw ReplyError("ERR DB index is out of range") }
        call.client.writer.ok()
    }

    private static func reset(_ call: Call) {
        call.endpoint.reset(call.client)
        call.client.name = Bytes()
        call.client.writer.isRESP3 = false
        call.client.answers = .all
        call.client.isAuthenticated = !call.endpoint.needsPassword
        call.client.writer.status("RESET")
    }

    // MARK: - Who it is

    private static func auth(_ call: Call) throws(ReplyError) {
        guard call.arguments.count <= 3 else { throw .syntax }
        if call.arguments.count == 2, !call.endpoint.needsPassword {
            throw ReplyError(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
                    + "configuration is correct?")
        }
        let user = call.arguments.count == 3 ? call.arguments[1] : "default"
        try authenticate(call, user: user, password: call.arguments[call.arguments.count - 1])
        call.client.writer.ok()
    }

    private static func authenticate(_ call: Call, user: Bytes, password: Bytes) throws(ReplyError) {
        // Without a password the default user has any.
        let isRight = call.endpoint.configuration.password.map { matches(Bytes($0), password) } ?? true
        guard user == "default", isRight else {
            throw ReplyError("WRONGPASS invalid username-password pair or user is disabled.")
        }
        call.client.isAuthenticated = true
    }

    /// Takes as long whatever is wrong.
    private static func matches(_ secret: Bytes, _ given: Bytes) -> Bool {
        var difference: UInt8 = secret.count == given.count ? 0 : 1
        for (index, byte) in given.enumerated() where !secret.isEmpty {
            difference |= secret[secret.startIndex + index % secret.count] ^ byte
        }
        return difference == 0
    }

    // MARK: - HELLO

    private static func hello(_ call: Call) throws(ReplyError) {
        var version: Int64?
        if let text = call.rest.first {
            guard let number = text.integer else {
                throw ReplyError("ERR Protocol version is not an integer or out of range")
            }
            guard number == 2 || number == 3 else { throw ReplyError("NOPROTO unsupported protocol version") }
            version = number
        }
        let name = try options(call)
        guard call.client.isAuthenticated else {
            throw ReplyError(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> "
                    + "<pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
            )
        }
        if let name { call.client.name = name }
        if let version {
            call.client.writer.isRESP3 = version == 3
            call.client.updateIsPlain()
        }
        describe(call)
    }

    /// Carries out AUTH and answers the name of SETNAME.
    private static func options(_ call: Call) throws(ReplyError) -> Bytes? {
        var name: Bytes?
        var index = 2
        while index < call.arguments.count {
            let option = call.arguments[index]
            let left = call.arguments.count - index - 1
            switch option.lossyString.uppercased() {
            case "AUTH" where left >= 2:
                try authenticate(call, user: call.arguments[index + 1], password: call.arguments[index + 2])
                index += 3
            case "SETNAME" where left >= 1:
                name = try ClientCommands.checkedName(call.arguments[index + 1])
                index += 2
            default: throw ReplyError("ERR Syntax error in HELLO option '\(option.shown(128))'")
            }
        }
        return name
    }

    private static func describe(_ call: Call) {
        let isRESP3 = call.client.writer.isRESP3
        call.client.writer.map(7)
        call.client.writer.bulk("server")
        call.client.writer.bulk("redis")
        call.client.writer.bulk("version")
        call.client.writer.bulk(Keyspace.redisVersion)
        call.client.writer.bulk("proto")
        call.client.writer.integer(isRESP3 ? 3 : 2)
        call.client.writer.bulk("id")
        call.client.writer.integer(call.client.id)
        call.client.writer.bulk("mode")
        call.client.writer.bulk("standalone")
        call.client.writer.bulk("role")
        call.client.writer.bulk("master")
        call.client.writer.bulk("modules")
        call.client.writer.array(0)
    }
}

extension CommandDirectory.Entry {
    /// A command that is about the client or the server.
    convenience init(
        _ name: String, arity: Int, _ traits: CommandDirectory.Traits, _ group: String, keys: CommandSpec.KeyPositions = .none,
        run: @escaping @Sendable (Call) throws(ReplyError) -> Void
    ) {
        self.init(
            name: name, arity: arity, keys: keys, traits: traits, group: group, shape: .plain, action: .client(run))
    }

    /// A command that looks into the key space in a way that no operation has.
    convenience init(
        _ name: String, arity: Int, _ traits: CommandDirectory.Traits, _ group: String, keys: CommandSpec.KeyPositions = .none,
        shape: ReplyShape = .plain,
        look: @escaping @Sendable (inout Keyspace, [Bytes]) throws(ReplyError) -> Reply
    ) {
        self.init(name: name, arity: arity, keys: keys, traits: traits, group: group, shape: shape, action: .keyspace(look))
    }
}
