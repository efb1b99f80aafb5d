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
    private let grant: Grant

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
        guard holds(await address()), holds(await language()), holds(await credentials()), holds(await database()) else {
            return findings
        }
        return findings + (await inside(topologyCommands: topologyCommands))
    }

    /// What is to be seen with the credentials.
    private func inside(topologyCommands: [[Bytes]]) async -> [Finding] {
        do {
            let store = try RedisStore(configuration())
            let findings = await ServerExamination(store: store, grant: grant, topologyCommands: topologyCommands).findings()
            await store.shutdown()
            return findings
        } catch {
            return [.wrong("Connection", error.namingSettings().message)]
        }
    }

    // MARK: - Sentinels

    /// What the sentinels say, and then the primary, looked at like any server.
    private func findings(through sentinel: HoldfastConfiguration.Redis.Sentinel) async -> [Finding] {
        do {
            guard let primary = try await configuration().primaryBySentinels() else { return [] }
            var direct = redis
            direct.sentinel = nil
            direct.address = .tcp(host: primary.host, port: primary.port)
            let found = Finding.right("Sentinels", "they say that \(sentinel.master) is at \(primary)")
            // What says of itself that it is no primary is not used.
            return [found] + (await RedisExamination(direct, topologyCommands: [["ROLE"]]).findings())
        } catch {
            let advice =
                error.code == .serverRefused
                ? "check REDIS_SENTINEL_MASTER, REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD" : "check REDIS_SENTINELS"
            return [.wrong("Sentinels", "\(error.namingSettings().message.firstLine): \(advice)")]
        }
    }

    // MARK: - Cluster

    private func clusterFindings() async -> [Finding] {
        do {
            let store = try RedisStore(configuration())
            var findings: [Finding] = []
            do {
                try await store(.ping)
                let slots = try await store(.raw("CLUSTER", "SLOTS")).elements?.count ?? 0
                findings.append(.right("Cluster", "it is up; \(slots) ranges of slots"))
            } catch {
                let advice =
                    error.code == .serverRefused
                    ? "check REDIS_USERNAME and REDIS_PASSWORD, and that cluster-enabled is yes there"
                    : "check REDIS_CLUSTER_NODES and `redis-cli --cluster check`"
                findings.append(.wrong("Cluster", "\(grant.line(error.namingSettings()).firstLine): \(advice)"))
            }
            await store.shutdown()
            guard findings.allSatisfy({ $0.state != .wrong }) else { return findings }
            // The second is sent where a slot is being moved.
            return findings + (await inside(topologyCommands: [["CLUSTER", "INFO"], ["ASKING"]]))
        } catch {
            return [.wrong("Cluster", error.namingSettings().message)]
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
        var bare = configuration()
        bare.username = nil
        bare.password = nil
        bare.credentials = nil
        bare.database = 0
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

    // MARK: - Credentials and database

    private func credentials() async -> [Finding] {
        var first = configuration()
        first.database = 0
        let user = redis.username ?? "default"
        switch await introduce(first) {
        case nil where redis.password == nil && redis.passwordFile == nil:
            return [.right("AUTH", redis.username == nil ? "no password is needed" : "user \(user) needs no password")]
        case nil: return [.right("AUTH", "the server accepts the password of user \(user)")]
        case let error? where error.message.hasPrefix("NOAUTH"):
            return [.wrong("AUTH", "the server requires a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE")]
        case let error? where error.message.hasPrefix("WRONGPASS"):
            return [.wrong("AUTH", "the server refuses user \(user): check REDIS_USERNAME and \(passwordSetting)")]
        case let error? where error.message.contains("without any password configured"):
            return [.wrong("AUTH", "the server has no password: unset \(passwordSetting)")]
        case let error?: return [.wrong("AUTH", grant.line(error).firstLine)]
        }
    }

    private var passwordSetting: String { redis.passwordFile.map { "REDIS_PASSWORD_FILE (\($0.path))" } ?? "REDIS_PASSWORD" }

    private func database() async -> [Finding] {
        guard redis.database != 0 else { return [.right("SELECT", "database 0")] }
        guard let error = await introduce(configuration()) else { return [.right("SELECT", "database \(redis.database)")] }
        return [.wrong("SELECT", "no database \(redis.database) (\(grant.line(error).firstLine)): check REDIS_DATABASE")]
    }

    /// Connects, says hello and PING, and leaves. Nil where all that worked.
    private func introduce(_ configuration: RedisConfiguration) async -> StoreError? {
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

    private func configuration() -> RedisConfiguration {
        var configuration = redis.storeConfiguration(clientName: "holdfast-doctor")
        configuration.retriesOnTimeout = false
        return configuration
    }
}

extension String {
    fileprivate var firstLine: String { String(prefix { !$0.isNewline }.prefix(200)) }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
