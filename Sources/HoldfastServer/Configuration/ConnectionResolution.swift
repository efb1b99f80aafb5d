import HoldfastStore

/// Puts URLs and single variables together into one connection.
///
/// UPSTASH_REDIS_URL goes before REDIS_URL, and what a URL says goes before the single variables, unless the latter come from a
/// stronger source: `--redis-port 6380` wins over the port of a REDIS_URL in `.env`.
struct ConnectionResolution {
    typealias Redis = HoldfastConfiguration.Redis

    private let given: ConnectionSettings
    private let sources: [String: SettingSource]
    private(set) var problems: [String] = []
    private(set) var warnings: [String] = []

    init(_ given: ConnectionSettings, sources: [String: SettingSource]) {
        self.given = given
        self.sources = sources
    }

    mutating func resolve(into redis: inout Redis) {
        let url = chosenURL()
        redis.isEnabled = given.isEnabled ?? namesServer
        redis.wire = given.wire ?? impliedWire(url)
        guard redis.isEnabled else { return }
        resolveTopology(into: &redis)
        switch redis.wire {
        case .rest: resolveREST(url, into: &redis)
        case .native: resolveServer(url, into: &redis)
        }
    }

    /// What makes Redis used without REDIS_ENABLED. A REST URL alone counts, unless the protocol is said to be native; the protocol rest
    /// alone too, so that a URL that was forgotten is asked for.
    private var namesServer: Bool {
        given.upstashURL != nil || given.url != nil || given.host != nil || given.sentinels != nil
            || (given.clusterNodes != nil && given.clusterIsEnabled != false) || (given.restURL != nil && given.wire != .native)
            || given.wire == .rest
    }

    private func source(_ name: String) -> SettingSource { sources[name] ?? .default }

    private struct ChosenURL {
        let name: String
        let value: ConnectionURL
    }

    /// The stronger source's URL; within one source UPSTASH_REDIS_URL.
    private func chosenURL() -> ChosenURL? {
        let upstash = given.upstashURL.map { ChosenURL(name: "UPSTASH_REDIS_URL", value: $0.value) }
        let plain = given.url.map { ChosenURL(name: "REDIS_URL", value: $0.value) }
        guard let upstash, let plain else { return upstash ?? plain }
        return source(plain.name) < source(upstash.name) ? plain : upstash
    }

    private func impliedWire(_ url: ChosenURL?) -> Redis.Wire {
        if let url, case .rest = url.value { return .rest }
        let hasNative = url != nil || given.host != nil || given.sentinels != nil || given.clusterNodes != nil
        return !hasNative && given.restURL != nil ? .rest : .native
    }

    // MARK: - REST

    private mutating func resolveREST(_ url: ChosenURL?, into redis: inout Redis) {
        var endpoint = given.restURL
        if endpoint == nil, let upstash = given.upstashURL, case .rest(let address) = upstash.value { endpoint = address }
        guard let endpoint else {
            problems.append("REDIS_PROTOCOL=rest needs UPSTASH_REDIS_REST_URL: accepted is an https:// URL")
            return
        }
        guard let token = given.restToken ?? given.password else {
            problems.append("UPSTASH_REDIS_REST_TOKEN is missing: \(endpoint) needs its token")
            return
        }
        if given.passwordFile != nil {
            warnings.append("REDIS_PASSWORD_FILE has no effect over REST: UPSTASH_REDIS_REST_TOKEN is the token")
        }
        redis.rest = Redis.REST(url: endpoint, token: token)
        resolveTLS(ofREST: endpoint, into: &redis)
    }

    /// Whether there is TLS the URL alone says. Without any of the settings there is nothing to say of it.
    private mutating func resolveTLS(ofREST endpoint: String, into redis: inout Redis) {
        guard endpoint.hasPrefix("https://") else {
            let unused = (given.usesTLS == true ? ["REDIS_SSL=true"] : []) + tlsDetails.filter { $0.1 != nil }.map(\.0)
            warnings += unused.map { "\($0) has no effect: \(endpoint) is without TLS" }
            return
        }
        if given.usesTLS == false {
            warnings.append("REDIS_SSL=false is ignored: the URL says https://, so TLS is used")
        }
        if given.serverName != nil {
            warnings.append("REDIS_SSL_SERVER_NAME has no effect over REST: the certificate must bear the URL's host")
        }
        let files = [given.caFile, given.certificateFile, given.keyFile]
        guard given.certificateRequirements != nil || files.contains(where: { $0 != nil }) else { return }
        var tls = settledTLS(given.certificateRequirements)
        tls.serverName = nil
        redis.tls = tls
    }

    // MARK: - RESP

    private mutating func resolveServer(_ url: ChosenURL?, into redis: inout Redis) {
        var parts: RedisURL?
        switch url?.value {
        case .native(let native): parts = native
        case .rest(let address):
            problems.append("\(url?.name ?? "")=\(address) with REDIS_PROTOCOL=native: accepted is \(RedisURL.accepted)")
        case nil: break
        }
        let urlSource = url.map { source($0.name) } ?? .default
        /// A part of the URL, unless the variable is set by a stronger source.
        func part<Value>(_ fromURL: Value?, _ name: String, _ variable: Value?) -> Value? {
            source(name) < urlSource ? variable ?? fromURL : fromURL ?? variable
        }
        if let path = parts?.socketPath, !(given.host != nil && source("REDIS_HOST") < urlSource) {
            redis.address = .unixSocket(path: path)
        } else {
            redis.address = .tcp(
                host: part(parts?.host, "REDIS_HOST", given.host) ?? "127.0.0.1",
                port: part(parts?.port, "REDIS_PORT", given.port) ?? 6379)
        }
        redis.database = part(parts?.database, "REDIS_DATABASE", given.database) ?? 0
        redis.username = part(parts?.username, "REDIS_USERNAME", given.username)
        redis.password =
            part(parts?.password.map { Secret($0) }, "REDIS_PASSWORD", given.password) ?? (url == nil ? nil : given.restToken)
        resolvePasswordFile(parts, url?.name, into: &redis)
        resolveTLS(parts, url?.name, into: &redis)
        problems += redis.contradictions
    }

    /// The file is read once, so that a mistake is told at the start and not by the first connection.
    private mutating func resolvePasswordFile(_ parts: RedisURL?, _ urlName: String?, into redis: inout Redis) {
        guard let file = given.passwordFile.map({ PasswordFile(path: $0) }) else { return }
        let others = [given.password == nil ? nil : "REDIS_PASSWORD", parts?.password == nil ? nil : urlName]
        for other in others.compactMap(\.self) {
            problems.append("\(other) has a password and REDIS_PASSWORD_FILE is set: accepted is one of them")
        }
        do { _ = try file.read() } catch { problems.append(error.message) }
        redis.password = nil
        redis.passwordFile = file
    }

    private mutating func resolveTLS(_ parts: RedisURL?, _ urlName: String?, into redis: inout Redis) {
        let urlAsks = parts?.usesTLS == true
        if urlAsks, given.usesTLS == false {
            warnings.append("REDIS_SSL=false is ignored: \(urlName ?? "the URL") says rediss://, so TLS is used")
        }
        guard urlAsks || given.usesTLS == true else {
            let unused = tlsDetails.filter { $0.1 != nil }.map(\.0)
            warnings += unused.map { "\($0) has no effect: TLS is off (REDIS_SSL=true or a rediss:// URL turns it on)" }
            return
        }
        if case .unixSocket = redis.address {
            problems.append("REDIS_SSL=true with a Unix socket: TLS needs a TCP address, as in rediss://host:6379")
        }
        redis.tls = settledTLS(parts?.certificateRequirements ?? given.certificateRequirements)
    }

    private var tlsDetails: [(String, String?)] {
        [
            ("REDIS_SSL_CA_CERTS", given.caFile), ("REDIS_SSL_CERTFILE", given.certificateFile),
            ("REDIS_SSL_KEYFILE", given.keyFile), ("REDIS_SSL_SERVER_NAME", given.serverName),
        ]
    }

    private mutating func settledTLS(_ requirements: Redis.CertificateRequirements?) -> Redis.TLS {
        if given.keyFile != nil, given.certificateFile == nil {
            problems.append("REDIS_SSL_CERTFILE is missing: REDIS_SSL_KEYFILE is set, and a key needs its certificate")
        }
        var tls = Redis.TLS()
        tls.certificateRequirements = requirements ?? .required
        tls.caFile = given.caFile
        tls.certificateFile = given.certificateFile
        // As in Python, the certificate's file may hold the key too.
        tls.keyFile = given.keyFile ?? given.certificateFile
        tls.serverName = given.serverName
        return tls
    }

    // MARK: - Cluster and Sentinel

    private mutating func resolveTopology(into redis: inout Redis) {
        if given.clusterIsEnabled ?? (given.clusterNodes != nil) { redis.cluster = given.clusterNodes ?? [] }
        if given.clusterIsEnabled == false, given.clusterNodes != nil {
            warnings.append("REDIS_CLUSTER_NODES has no effect: REDIS_CLUSTER_ENABLED is false")
        }
        switch (given.sentinels, given.sentinelMaster) {
        case (let nodes?, let master?):
            redis.sentinel = Redis.Sentinel(
                nodes: nodes, master: master, username: given.sentinelUsername, password: given.sentinelPassword)
        case (_?, nil): problems.append("REDIS_SENTINEL_MASTER is missing: REDIS_SENTINELS is set, and they know servers by name")
        case (nil, _?): warnings.append("REDIS_SENTINEL_MASTER has no effect: REDIS_SENTINELS is not set")
        case (nil, nil): break
        }
        if given.sentinels == nil, given.sentinelUsername != nil || given.sentinelPassword != nil {
            warnings.append("REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD have no effect: REDIS_SENTINELS is not set")
        }
        if redis.cluster != nil, redis.sentinel != nil {
            problems.append("REDIS_CLUSTER_NODES and REDIS_SENTINELS are both set: accepted is one of them")
        }
    }
}
