import HoldfastStore

/// The first words with a server, as a value: which protocol, as whom, in which database, and whether it is what it should be.
struct Handshake {
    /// What the server has to be.
    enum Role: Sendable {
        case any
        /// A primary; a server that answers otherwise to ROLE is not used.
        case primary
        /// A node of a cluster that is to answer reads although it is a replica.
        case readReplica
    }

    enum Step: Equatable {
        /// Send these commands; all their replies are awaited.
        case send([[Bytes]])
        case wait
        case done(RedisConfiguration.ProtocolVersion)
        case failed(StoreError)
    }

    private enum Stage { case hello, rest }

    /// What an answer is to.
    private enum Question {
        case needed, role, identity
        /// Whatever the answer is.
        case courtesy
    }

    private let configuration: RedisConfiguration
    private let role: Role
    private let predecessor: ServerSideIdentity?
    /// How the server knows this connection, where it has said so.
    private(set) var identity: ServerSideIdentity?
    private var stage = Stage.hello
    private var version = RedisConfiguration.ProtocolVersion.resp2
    private var awaited: [Question] = []

    /// - Parameter predecessor: a connection that is ended on the server before this one is used.
    init(_ configuration: RedisConfiguration, role: Role = .any, after predecessor: ServerSideIdentity? = nil) {
        self.configuration = configuration
        self.role = role
        self.predecessor = predecessor
    }

    mutating func begin() -> Step {
        guard configuration.protocolVersion == .resp3 else { return continueInRESP2() }
        var hello: [Bytes] = ["HELLO", "3"]
        if let credentials = Self.credentials(configuration) {
            hello += ["AUTH", Bytes(credentials.user ?? "default"), credentials.password]
        }
        if let name { hello += ["SETNAME", name] }
        awaited = [.needed] + Self.introductionQuestions
        return .send([hello] + Self.introduction)
    }

    /// What CLIENT LIST shows, which servers before Redis 7.2 do not know; and how the server knows us. All the same where it refuses.
    static let introduction: [[Bytes]] = [
        ["CLIENT", "SETINFO", "LIB-NAME", "holdfast"], ["CLIENT", "SETINFO", "LIB-VER", "0.1.0"], ServerSideIdentity.question,
    ]
    private static let introductionQuestions: [Question] = [.courtesy, .courtesy, .identity]

    mutating func receive(_ reply: Reply) -> Step {
        let question = awaited.isEmpty ? .needed : awaited.removeFirst()
        switch (question, stage, reply) {
        case (.courtesy, _, _): break
        case (.identity, _, _): identity = ServerSideIdentity(reply)
        case (_, .hello, .error(let error)) where Self.meansNoRESP3(error): return continueInRESP2()
        case (_, _, .error(let error)): return .failed(Self.failure(error))
        case (_, .hello, _):
            version = .resp3
            return rest([])
        case (.role, .rest, let reply):
            if reply.elements?.first?.bytes != "master" { return .failed(Self.notThePrimary) }
        case (.needed, .rest, _): break
        }
        return awaited.isEmpty ? .done(version) : .wait
    }

    private mutating func continueInRESP2() -> Step {
        var commands: [[Bytes]] = []
        if let authentication = Self.authentication(configuration) { commands.append(authentication) }
        if let name { commands.append(["CLIENT", "SETNAME", name]) }
        // Said already where HELLO was tried first.
        return rest(commands, introduces: awaited.isEmpty)
    }

    private mutating func rest(_ commands: [[Bytes]], introduces: Bool = false) -> Step {
        var commands = commands
        if configuration.database != 0 { commands.append(["SELECT", Bytes(Int64(configuration.database))]) }
        switch role {
        case .any, .primary: break
        case .readReplica: commands.append(["READONLY"])
        }
        // RESP2 without any setting would say nothing; a word shows that there is a Redis that lets us in.
        if commands.isEmpty, role != .primary, version == .resp2 { commands.append(["PING"]) }
        stage = .rest
        awaited += commands.map { _ in .needed }
        if introduces {
            commands += Self.introduction
            awaited += Self.introductionQuestions
        }
        if let predecessor {
            commands.append(predecessor.ending)
            awaited.append(.courtesy)
        }
        if role == .primary {
            commands.append(["ROLE"])
            awaited.append(.role)
        }
        guard commands.isEmpty else { return .send(commands) }
        return awaited.isEmpty ? .done(version) : .wait
    }

    /// AUTH with the configuration's credentials; nil where it has none.
    static func authentication(_ configuration: RedisConfiguration) -> [Bytes]? {
        guard let credentials = credentials(configuration) else { return nil }
        return ["AUTH"] + (credentials.user.map { [Bytes($0)] } ?? []) + [credentials.password]
    }

    /// A user without a password may be one who needs none (`nopass`): then any does. Without AUTH he would be the default user.
    private static func credentials(_ configuration: RedisConfiguration) -> (user: String?, password: Bytes)? {
        let (user, password) = (configuration.username.flatMap { $0.isEmpty ? nil : $0 }, configuration.password ?? "")
        return user == nil && password.isEmpty ? nil : (user, Bytes(password))
    }

    private var name: Bytes? { configuration.clientName.flatMap { $0.isEmpty ? nil : Bytes($0) } }

    /// Of effect none, and a failure of the server: who is asked again may know better.
    private static let notThePrimary = StoreError(.serverReadOnly, "The server that the sentinels name is no primary (yet)")

    private static func meansNoRESP3(_ error: ReplyError) -> Bool {
        error.prefix == "NOPROTO" || error.line.hasPrefix("ERR unknown command")
    }

    /// A server that is starting or full may do better soon; whatever else it says against credentials, name or database is a
    /// matter of configuration, and trying again does not help.
    static func failure(_ error: ReplyError) -> StoreError {
        let failure = StoreError(error)
        switch failure.code {
        case .serverLoading, .serverBusy: return failure
        default: return StoreError(.serverRefused, failure.message + advice(on: error))
        }
    }

    private static func advice(on error: ReplyError) -> String {
        switch error.prefix {
        case "WRONGPASS": " Check the user name and the password."
        case "NOAUTH": " The server wants a password: set one."
        default: ""
        }
    }
}
