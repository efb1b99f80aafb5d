import HoldfastStore

/// What matters of the reply to CLUSTER INFO.
struct ClusterInfo {
    var epoch: Int64 = 0
    /// Whether the node says that the cluster is down. False where it says nothing.
    var isDown = false

    init(_ reply: Reply) {
        for line in (reply.bytes?.lossyString ?? "").split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            if parts[0] == "cluster_current_epoch" { epoch = Int64(parts[1]) ?? 0 }
            if parts[0] == "cluster_state" { isDown = parts[1] != "ok" }
        }
    }
}
