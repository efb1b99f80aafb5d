import HoldfastStore

/// The text of INFO: what is true of this process under Redis's names, for people and the tools that look for them.
struct ServerInfo {
    let endpoint: Endpoint

    /// The named sections, or those that Redis shows by default.
    func text(_ names: [String]) -> String {
        let everything = names.contains("all") || names.contains("everything")
        let usual = names.isEmpty || names.contains("default")
        return sections.filter { section in
            everything || names.contains(section.name.lowercased()) || (usual && section.isUsual)
        }
        .map { section in
            "# \(section.name)\r\n" + section.lines.map { "\($0):\($1)\r\n" }.joined()
        }
        .joined(separator: "\r\n")
    }

    private struct Section {
        let name: String
        var isUsual = true
        let lines: [(String, String)]
    }

    private var sections: [Section] {
        let now = endpoint.time.now
        let uptime = max(0, (now - endpoint.startedAt).milliseconds / 1000)
        let (store, expiring, policy) = endpoint.store.withKeyspace { keyspace in
            (
                (
                    keys: keyspace.count, used: keyspace.usedBytes, limit: keyspace.limits.maximumBytes,
                    expired: keyspace.expiredCount, evicted: keyspace.evictedCount, hits: keyspace.hitCount,
                    misses: keyspace.missCount
                ), keyspace.expiringCount, keyspace.limits.policy
            )
        }
        let statistics = endpoint.statistics
        let clients = endpoint.clients.values
        let rates = endpoint.currentRates()
        let processors = ProcessTime()
        return [
            Section(
                name: "Server",
                lines: [
                    ("redis_version", Keyspace.redisVersion), ("redis_mode", "standalone"), ("server_name", "holdfast"),
                    ("process_id", "\(endpoint.processID)"), ("tcp_port", "\(endpoint.port)"),
                    ("server_time_usec", "\(now.milliseconds * 1000)"), ("uptime_in_seconds", "\(uptime)"),
                    ("uptime_in_days", "\(uptime / 86_400)"), ("arch_bits", "64"), ("multiplexing_api", "swift-nio"),
                ]),
            Section(
                name: "Clients",
                lines: [
                    ("connected_clients", "\(clients.count)"), ("maxclients", "\(endpoint.configuration.maximumClients)"),
                    ("blocked_clients", "0"), ("tracking_clients", "0"),
                    ("pubsub_clients", "\(clients.count { $0.subscriptionCount > 0 })"),
                    ("watching_clients", "\(clients.count { !$0.watched.isEmpty })"),
                ]),
            Section(
                name: "Memory",
                lines: [
                    ("used_memory", "\(store.used)"), ("used_memory_human", human(store.used)),
                    ("used_memory_dataset", "\(store.used)"), ("maxmemory", "\(store.limit)"),
                    ("maxmemory_human", human(store.limit)), ("maxmemory_policy", policy.rawValue),
                    ("number_of_cached_scripts", "0"), ("mem_allocator", "libc"),
                ]),
            Section(
                name: "Persistence",
                lines: [("loading", "0"), ("rdb_bgsave_in_progress", "0"), ("aof_enabled", "0")]),
            Section(
                name: "Stats",
                lines: [
                    ("total_connections_received", "\(statistics.connections)"),
                    ("total_commands_processed", "\(statistics.commands)"),
                    ("instantaneous_ops_per_sec", "\(rates.commands)"),
                    ("instantaneous_input_kbps", decimal(rates.receivedKilobytes, places: 2)),
                    ("instantaneous_output_kbps", decimal(rates.sentKilobytes, places: 2)),
                    ("total_net_input_bytes", "\(statistics.receivedBytes)"),
                    ("total_net_output_bytes", "\(statistics.sentBytes)"),
                    ("rejected_connections", "\(statistics.rejectedConnections)"), ("expired_keys", "\(store.expired)"),
                    ("evicted_keys", "\(store.evicted)"), ("keyspace_hits", "\(store.hits)"),
                    ("keyspace_misses", "\(store.misses)"),
                    ("pubsub_channels", "\(endpoint.store.subscribers.channels.count)"),
                    ("pubsub_patterns", "\(endpoint.store.subscribers.patternCount)"),
                    ("total_error_replies", "\(statistics.errors)"),
                ]),
            Section(name: "Replication", lines: [("role", "master"), ("connected_slaves", "0")]),
            Section(
                name: "CPU",
                lines: [
                    ("used_cpu_sys", decimal(processors.system, places: 6)),
                    ("used_cpu_user", decimal(processors.user, places: 6)),
                ]),
            Section(name: "Commandstats", isUsual: false, lines: commandLines(statistics)),
            Section(name: "Cluster", lines: [("cluster_enabled", "0")]),
            Section(
                name: "Keyspace",
                lines: store.keys == 0 ? [] : [("db0", "keys=\(store.keys),expires=\(expiring),avg_ttl=0")]),
        ]
    }

    private func commandLines(_ statistics: Endpoint.Statistics) -> [(String, String)] {
        zip(endpoint.directory.entries, statistics.calls).filter { $1 > 0 }.map { entry, calls in
            ("cmdstat_\(entry.name.lowercased())", "calls=\(calls)")
        }
    }

    private func human(_ bytes: Int) -> String {
        var (value, unit) = (Double(bytes), 0)
        while value >= 1024, unit < 4 {
            value /= 1024
            unit += 1
        }
        guard unit > 0 else { return "\(bytes)B" }
        return decimal(value, places: 2) + ["B", "K", "M", "G", "T"][unit]
    }

    /// With so many digits behind the point, also where they are zeros.
    private func decimal(_ value: Double, places: Int) -> String {
        var unit = 1
        for _ in 0..<places { unit *= 10 }
        let parts = Int(clamping: Int64((value * Double(unit)).rounded()))
        return "\(parts / unit).\("\(unit + parts % unit)".dropFirst())"
    }
}
