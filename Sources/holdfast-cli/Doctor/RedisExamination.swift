import Foundation
import HoldfastRedis
import HoldfastServer
import HoldfastStore
import NIOCore
import NIOPosix

/// Checks a Redis from the outside in: name, address, protocol and TLS, credentials, database, and then what is inside. Stops at
/// the first layer that does not hold, because nothing beyond it can be known.
struct RedisExamination {
    let redis: HoldfastConfiguration.Redis
    private let topologyCommands: [[Bytes]]
    let grant: Grant

    /// - Parameter topologyCommands: those that finding the server takes besides.
    init(_ redis: HoldfastConfiguration.Redis, topologyCommands: [[Bytes]] = []) {
        self.redis = redis
        self.topologyCommands = topologyCommands
        grant = Grant(user: redis.username ?? "default", prefix: redis.keyPrefix)
    }

    func findings() async -> [Finding] {
        if let sentinel = redis.sentinel { return await findings(through: sentinel) }
        if redis.cluster != nil { return await clusterFindings() }
        var findings: [Finding] = []
        /// Adds what a layer found, and says whether to go on.
        func holds(_ found: [Finding]) -> Bool {
            findings += found
            return !found.contains { $0.state == .wrong }
        }
        guard holds(await address()), holds(await language()), holds(await sentinel(bare)), holds(await credentials()),
            holds(await sentinel(identified)), holds(await database())
        else { return findings }
        return findings + (await inside(topologyCommands: topologyCommands))
    }

    /// What is to be seen with the credentials.
    func inside(topologyCommands: [[Bytes]]) async -> [Finding] {
        do {
            let store = try RedisStore(configuration())
            let findings = await ServerExamination(store: store, grant: grant, topologyCommands: topologyCommands).findings()
            await store.shutdown()
            return findings
        } catch {
            return [.wrong("Connection", error.namingSettings().message)]
        }
    }

    // MARK: - Name and address

    private func address() async -> [Finding] {
        switch redis.address {
        case .unixSocket(let path): [socket(path)]
        case .tcp(let host, let port): await tcp(host, port)
        }
    }

    private func socket(_ path: String) -> Finding {
        let kind = (try? FileManager.default.attributesOfItem(atPath: path))?[.type] as? FileAttributeType
        return switch kind {
        case .typeSocket: .right("Socket", "\(path) is there")
        case nil: .wrong("Socket", "\(path) is not there: is the server running, with `unixsocket \(path)`?")
        default: .wrong("Socket", "\(path) is no socket: REDIS_URL must name the file of the server's `unixsocket`")
        }
    }

    private func tcp(_ host: String, _ port: Int) async -> [Finding] {
        let target: SocketAddress
        do { target = try SocketAddress.makeAddressResolvingHost(host, port: port) } catch {
            return [.wrong("DNS", "\(host) has no address: check REDIS_HOST or the host in the URL")]
        }
        let name = Finding.right("DNS", "\(host) is \(target.ipAddress ?? "\(target)")")
        do {
            let patience = TimeAmount.milliseconds(redis.connectTimeout.milliseconds)
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(patience).connect(host: host, port: port).get()
            try? await channel.close()
            return [name, .right("TCP", "port \(port) accepts connections")]
        } catch {
            let reason = "\(error)".contains("refused") ? "refused the connection" : "does not answer"
            return [name, .wrong("TCP", "port \(port) \(reason): check REDIS_PORT, the server's `bind`, and firewalls")]
        }
    }

    // MARK: - Protocol and TLS

    /// A first word without credentials: whatever a Redis answers to it shows that it is one.
    private func language() async -> [Finding] {
        let check = redis.tls == nil ? "Protocol" : "TLS"
        switch await introduce(bare) {
        case nil: return [understood(check)]
        case let error? where error.code == .serverRefused && !error.message.hasPrefix("No TLS"): return [understood(check)]
        case let error?: return [.wrong(check, line(error))]
        }
    }

    private func understood(_ check: String) -> Finding {
        guard let tls = redis.tls else { return .right(check, "a Redis answers, without TLS") }
        return tls.certificateRequirements.verifies
            ? .right(check, "the server's certificate is accepted")
            : .doubtful(check, "on, but the certificate is not checked: REDIS_SSL_CERT_REQS=required would")
    }

    /// What is wrong and what to change. Of certificates, and of files that cannot serve, the error says it already.
    private func line(_ error: StoreError) -> String {
        if let setting = error.field { return "\(setting): \(error.message)" }
        if error.message.hasPrefix("No TLS") { return error.message }
        let advice =
            redis.tls == nil
            ? "does the port expect TLS? then use rediss:// or REDIS_SSL=true; else it is no Redis"
            : "is it a port without TLS? then use redis:// or REDIS_SSL=false"
        return "\(error.message.firstLine): \(advice)"
    }

    // MARK: - Sentinels

    /// A sentinel greets like a server and has no keys: whatever else was found of it would mislead. Asked without credentials first, because
    /// those are the servers', which a sentinel refuses; then with them, for one that has the same.
    private func sentinel(_ configuration: RedisConfiguration) async -> [Finding] {
        guard let store = try? RedisStore(configuration) else { return [] }
        let mode = try? await store.capabilities().mode
        await store.shutdown()
        guard mode == "sentinel" else { return [] }
        let setting =
            switch redis.address {
            case .tcp: "REDIS_SENTINELS=\(redis.address)"
            case .unixSocket: "REDIS_SENTINELS"
            }
        return [
            .wrong(
                "Sentinel",
                "\(redis.address) is a sentinel, which keeps no keys: set \(setting) and REDIS_SENTINEL_MASTER in place of its address"
            )
        ]
    }

    // MARK: - Credentials and database

    private func credentials() async -> [Finding] {
        let user = redis.username ?? "default"
        switch await introduce(identified) {
        case nil where redis.password == nil && redis.passwordFile == nil:
            return [.right("AUTH", redis.username == nil ? "no password is needed" : "user \(user) needs no password")]
        case nil: return [.right("AUTH", "the server accepts the password of user \(user)")]
        case let error?: return [.wrong("AUTH", refusal(error) ?? grant.line(error).firstLine)]
        }
    }

    /// What the server has against the credentials, and what to change; nil where it is about something else.
    func refusal(_ error: StoreError) -> String? {
        if error.message.contains("NOAUTH") {
            return "the server requires a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE"
        }
        if error.message.contains("WRONGPASS") {
            return "the server refuses user \(redis.username ?? "default"): check REDIS_USERNAME and \(passwordSetting)"
        }
        guard error.message.contains("without any password configured") else { return nil }
        return "the server has no password: unset \(passwordSetting)"
    }

    var passwordSetting: String { redis.passwordFile.map { "REDIS_PASSWORD_FILE (\($0.path))" } ?? "REDIS_PASSWORD" }

    private func database() async -> [Finding] {
        guard redis.database != 0 else { return [.right("SELECT", "database 0")] }
        guard let error = await introduce(configuration()) else { return [.right("SELECT", "database \(redis.database)")] }
        return [.wrong("SELECT", "no database \(redis.database) (\(grant.line(error).firstLine)): check REDIS_DATABASE")]
    }

    /// Connects, says hello and PING, and leaves. Nil where all that worked.
    func introduce(_ configuration: RedisConfiguration) async -> StoreError? {
        do {
            let store = try RedisStore(configuration)
            var failure: StoreError?
            do { try await store(.ping) } catch { failure = error.namingSettings() }
            await store.shutdown()
            return failure
        } catch {
            return error.namingSettings()
        }
    }

    /// Without credentials.
    private var bare: RedisConfiguration {
        var bare = identified
        bare.username = nil
        bare.password = nil
        bare.credentials = nil
        return bare
    }

    /// With credentials, in the database that every server has.
    private var identified: RedisConfiguration {
        var identified = configuration()
        identified.database = 0
        return identified
    }

    func configuration() -> RedisConfiguration {
        var configuration = redis.storeConfiguration(clientName: "holdfast-doctor")
        configuration.retriesOnTimeout = false
        return configuration
    }
}

extension String {
    var firstLine: String { String(prefix { !$0.isNewline }.prefix(200)) }
}

extension Array where Element: Sendable {
    /// What is found of each, looked at all at once, in their order.
    func examined<Found: Sendable>(_ look: @escaping @Sendable (Element) async -> Found) async -> [Found] {
        await withTaskGroup(of: (Int, Found).self) { group in
            for (index, element) in enumerated() { group.addTask { (index, await look(element)) } }
            var found: [(Int, Found)] = []
            for await one in group { found.append(one) }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
