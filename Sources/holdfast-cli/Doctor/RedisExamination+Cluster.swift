import HoldfastRedis
import HoldfastServer
import HoldfastStore

extension RedisExamination {
    /// What each configured node says, whether all slots are served, whether each primary can be reached where the cluster says that it is,
    /// and then what is inside.
    ///
    /// That one of the configured nodes is away is a warning: the others are asked instead. A primary that is away is not.
    func clusterFindings() async -> [Finding] {
        guard case .cluster(let cluster) = configuration().endpoint else { return [] }
        let answers = await cluster.nodes.examined { await slots(by: $0) }
        // A node that was cut off may know less.
        let known = answers.compactMap { try? $0.get() }.max { $0.served < $1.served }
        var findings = zip(cluster.nodes, answers).map { node, answer -> Finding in
            switch answer {
            case .success: Finding.right("Node", "\(node) is a node of the cluster")
            case .failure(let error):
                Finding(
                    check: "Node", state: known == nil ? .wrong : .doubtful,
                    message: line(node, error, "check REDIS_CLUSTER_NODES, and that it runs"))
            }
        }
        guard let table = known else { return findings }
        findings.append(table.finding)
        findings += await table.primaries.examined { await finding(ofPrimary: $0) }
        guard findings.allSatisfy({ $0.state != .wrong }) else { return findings }
        // The second is sent where a slot is being moved.
        return findings + (await inside(topologyCommands: [["CLUSTER", "INFO"], ["ASKING"]]))
    }

    private func configuration(of node: RedisConfiguration.Node) -> RedisConfiguration {
        var configuration = configuration()
        configuration.endpoint = .tcp(host: node.host, port: node.port)
        return configuration
    }

    /// Who serves which slots, as one node says.
    private func slots(by node: RedisConfiguration.Node) async -> Result<AnnouncedSlots, StoreError> {
        do throws(StoreError) {
            let store = try RedisStore(configuration(of: node))
            let answer: Result<AnnouncedSlots, StoreError>
            do throws(StoreError) {
                let reply = try await store.execute(.raw(["CLUSTER", "SLOTS"]))
                answer = .success(try AnnouncedSlots(reply, by: node))
            } catch { answer = .failure(error.namingSettings()) }
            await store.shutdown()
            return answer
        } catch {
            return .failure(error.namingSettings())
        }
    }

    private func finding(ofPrimary node: RedisConfiguration.Node) async -> Finding {
        guard let error = await introduce(configuration(of: node)) else {
            return .right("Primary", "\(node) answers where the cluster says that it is")
        }
        return .wrong(
            "Primary",
            line(
                node, error,
                "the cluster says that a primary is there: does it run, and are its `cluster-announce-…` right from here?"))
    }

    /// What is wrong with a node and what to change.
    ///
    /// - Parameter advice: where the node cannot be reached.
    private func line(_ node: RedisConfiguration.Node, _ error: StoreError, _ advice: String) -> String {
        if let refusal = refusal(error) { return Self.line(node.description, refusal) }
        let text = Self.line(node.description, grant.line(error).firstLine)
        // With a permission that is missing, what to say to the server stands in the text.
        if error.saysWhatToChange || error.code == .permissionMissing { return text }
        if error.message.contains("cluster support disabled") { return "\(text): is cluster-enabled yes there?" }
        return "\(text): \(advice)"
    }
}

/// What a node answers to CLUSTER SLOTS.
private struct AnnouncedSlots: Sendable {
    private(set) var served = 0
    private(set) var primaries: [RedisConfiguration.Node] = []

    /// - Parameter node: whose own address may be missing.
    init(_ reply: Reply, by node: RedisConfiguration.Node) throws(StoreError) {
        if case .error(let error) = reply { throw StoreError(error, operation: "CLUSTER SLOTS") }
        guard let ranges = reply.elements else { throw StoreError(.unexpectedReply, operation: "CLUSTER SLOTS") }
        for range in ranges {
            guard let parts = range.elements, parts.count >= 3, let first = parts[0].integer, let last = parts[1].integer,
                first >= 0, first <= last, last < 16_384, let address = parts[2].elements, address.count >= 2,
                let port = address[1].integer
            else { throw StoreError(.unexpectedReply, operation: "CLUSTER SLOTS") }
            served += Int(last - first + 1)
            let host = address[0].bytes?.lossyString ?? ""
            let primary = RedisConfiguration.Node(host: host.isEmpty ? node.host : host, port: Int(port))
            if !primaries.contains(primary) { primaries.append(primary) }
        }
    }

    var finding: Finding {
        served == 16_384
            ? .right("Cluster", "all 16,384 slots are served, by \(primaries.count) primaries")
            : .wrong(
                "Cluster", "\(served) of 16,384 slots are served: `redis-cli --cluster check` says which are not, and `fix` helps"
            )
    }
}
