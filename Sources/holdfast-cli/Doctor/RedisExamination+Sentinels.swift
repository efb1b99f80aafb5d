import HoldfastRedis
import HoldfastServer
import HoldfastStore

extension RedisExamination {
    /// What each sentinel says, and then the primary, looked at like any server.
    ///
    /// That one of them is away is a warning: the others are asked instead.
    func findings(through sentinel: HoldfastConfiguration.Redis.Sentinel) async -> [Finding] {
        let answers = await sentinel.nodes.examined { await primary(by: $0) }
        let said = zip(sentinel.nodes, answers)
        do {
            guard let primary = try await configuration().primaryBySentinels() else { return [] }
            let findings = said.map { finding(of: $0, $1, sentinel.master, primary) }
            var direct = redis
            direct.sentinel = nil
            direct.address = .tcp(host: primary.host, port: primary.port)
            let found = Finding.right("Sentinels", "they say that \(sentinel.master) is at \(primary)")
            // What says of itself that it is no primary is not used.
            return findings + [found] + (await RedisExamination(direct, topologyCommands: [["ROLE"]]).findings())
        } catch {
            let findings = said.map { finding(of: $0, $1, sentinel.master, nil) }
            return findings + [.wrong("Sentinels", "none of them says where \(sentinel.master) is")]
        }
    }

    /// Where one sentinel says that the primary is.
    private func primary(by node: HostAndPort) async -> Result<RedisConfiguration.Node, StoreError> {
        var configuration = configuration()
        guard case .sentinel(var sentinel) = configuration.endpoint else { return .failure(StoreError(.internalError)) }
        sentinel.nodes = [RedisConfiguration.Node(host: node.host, port: node.port)]
        configuration.endpoint = .sentinel(sentinel)
        do throws(StoreError) {
            guard let primary = try await configuration.primaryBySentinels() else { return .failure(StoreError(.internalError)) }
            return .success(primary)
        } catch {
            return .failure(error.namingSettings())
        }
    }

    /// - Parameter primary: what holds of all that they say; nil where none of them says anything.
    private func finding(
        of node: HostAndPort, _ answer: Result<RedisConfiguration.Node, StoreError>, _ name: String,
        _ primary: RedisConfiguration.Node?
    ) -> Finding {
        switch answer {
        case .success(let said) where primary == nil || said == primary:
            return .right("Sentinel", "\(node) says that \(name) is at \(said)")
        case .success(let said):
            return .doubtful(
                "Sentinel",
                "\(node) says that \(name) is at \(said), others say otherwise: is it cut off, or a failover under way?")
        case .failure(let error):
            let said = error.message.replacing("No sentinel knows the primary; one says: ", with: "").firstLine
            let text = said.contains("Connection refused") ? "refused the connection" : said
            let advice = advice(onSentinel: error).map { ": \($0)" } ?? ""
            return Finding(
                check: "Sentinel", state: primary == nil ? .wrong : .doubtful, message: Self.line(node.description, text) + advice
            )
        }
    }

    /// What to change; nil where the error says it already.
    private func advice(onSentinel error: StoreError) -> String? {
        if error.saysWhatToChange { return nil }
        guard error.code == .serverRefused else { return "check REDIS_SENTINELS, and that it runs" }
        if ["WRONGPASS", "NOAUTH", "without any password configured"].contains(where: { error.message.contains($0) }) {
            return "check REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"
        }
        if error.message.contains("unknown command") { return "that is no sentinel, check REDIS_SENTINELS" }
        if error.message.contains("watch nothing") { return "check REDIS_SENTINEL_MASTER" }
        return "check REDIS_SENTINEL_MASTER, REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"
    }

    /// What was said, with whom it is about at its beginning.
    static func line(_ node: String, _ text: String) -> String { text.hasPrefix(node) ? text : "\(node): \(text)" }
}

extension StoreError {
    /// Of certificates, and of files that cannot serve, the text says what to change.
    var saysWhatToChange: Bool { field != nil || message.contains("No TLS with") || message.contains("perhaps the server") }
}
