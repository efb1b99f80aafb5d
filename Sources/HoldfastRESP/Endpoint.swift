import HoldfastStore
import NIOCore

/// What the connections of a RESP server share: the store, who is connected, and what INFO, SLOWLOG and MONITOR tell.
///
/// Invariants:
/// 1. It and everything that it reaches (clients, their writers, the log of slow commands) is touched on one event loop only,
///    so there is nothing to lock; only ``ClientSubscriber`` is called from elsewhere.
/// 2. Nothing is published, sent or waited for while the store's lock is held.
/// 3. The store's lock is held for one batch of commands or one transaction at a time.
final class Endpoint {
    let store: EmbeddedStore
    let configuration: RESPServer.Configuration
    let loop: any EventLoop
    let directory = CommandDirectory.shared
    let time: any TimeSource
    let startedAt: Timestamp
    let processID: Int32
    /// The address that it listens on.
    var port = 0

    private(set) var clients: [Int: Client] = [:]
    private var lastClientID = 0
    /// Who sees every command; see MONITOR.
    private(set) var monitors: [Int: Client] = [:]
    @exclusivity(unchecked) var slowLog = SlowLog()
    @exclusivity(unchecked) var statistics: Statistics
    private var rates: Rates
    /// Waits for the disk, while clients are held.
    private var waitForRoom: Task<Void, Never>?

    struct Statistics {
        var connections = 0
        var rejectedConnections = 0
        var commands = 0
        var receivedBytes = 0
        var sentBytes = 0
        var errors = 0
        /// How often each command was called, by its place in the directory.
        var calls: [Int]
    }

    init(
        store: EmbeddedStore, configuration: RESPServer.Configuration, loop: any EventLoop, processID: Int32,
        time: any TimeSource
    ) {
        self.store = store
        self.loop = loop
        self.configuration = configuration
        self.processID = processID
        self.time = time
        startedAt = time.now
        statistics = Statistics(calls: Array(repeating: 0, count: directory.entries.count))
        rates = Rates(at: time.uptime)
    }

    /// How busy it is at this moment.
    func currentRates() -> Rates {
        let count = Rates.Count(
            commands: statistics.commands, receivedBytes: statistics.receivedBytes, sentBytes: statistics.sentBytes)
        rates.take(count, at: time.uptime)
        return rates
    }

    var needsPassword: Bool { configuration.password != nil }

    // MARK: - Who is connected

    /// Admits a connection; nil where there are too many.
    func admit(_ connection: any ClientConnection, address: String, localAddress: String) -> Client? {
        statistics.connections += 1
        guard clients.count < configuration.maximumClients else {
            statistics.rejectedConnections += 1
            return nil
        }
        lastClientID += 1
        let client = Client(
            id: lastClientID, connection: connection, address: address, localAddress: localAddress, connectedAt: time.now,
            isAuthenticated: !needsPassword)
        client.writer.limit = configuration.outputBytes
        clients[client.id] = client
        return client
    }

    /// Forgets a connection that has ended.
    func remove(_ client: Client) {
        client.isClosing = true
        reset(client)
        clients[client.id] = nil
    }

    /// Ends every connection.
    ///
    /// - Returns: what is to be waited for before the event loop may end.
    func endAll() -> Task<Void, Never>? {
        for client in clients.values { client.connection?.end() }
        waitForRoom?.cancel()
        return waitForRoom
    }

    /// Leaves a client's next request where it is until the disk has taken what waits for it now. Nothing more is read of it meanwhile, so
    /// that whoever writes faster than the disk is slowed down and does not fill the memory.
    func hold(_ client: Client) {
        client.isHeld = true
        guard waitForRoom == nil else { return }
        let endpoint = NIOLoopBound(self, eventLoop: loop)
        waitForRoom = Task { [store, loop] in
            guard (try? await store.waitForRoom()) != nil else { return }
            loop.execute { endpoint.value.goOn() }
        }
    }

    private func goOn() {
        waitForRoom = nil
        for client in clients.values where client.isHeld {
            client.isHeld = false
            client.connection?.goOn()
        }
    }

    /// Ends whatever a client has begun: a transaction, watching, subscriptions, monitoring.
    func reset(_ client: Client) {
        client.transaction = nil
        unwatch(client)
        unsubscribe(client)
        monitor(client, false)
    }

    func monitor(_ client: Client, _ isOn: Bool) {
        client.isMonitor = isOn
        monitors[client.id] = isOn ? client : nil
    }

    /// Tells those who monitor of a command.
    func showMonitors(_ arguments: [Bytes], of client: Client) {
        guard !monitors.isEmpty else { return }
        let limit = configuration.listenerOutputBytes
        // A line is at least as long as what it shows: one that is too long for everybody is not made.
        let size = arguments.reduce(0) { $0 + $1.count }
        let listeners = monitors.values.filter { $0.admits(size, within: limit) }
        guard !listeners.isEmpty else { return }
        let line = MonitorLine.text(arguments, at: time.now, address: client.address)
        for monitor in listeners where monitor.admits(line.count, within: limit) {
            monitor.writer.status(line)
            monitor.scheduleFlush()
        }
    }

    /// Watches more entries; one that is watched already stays as it was seen first.
    func watch(_ keys: [Key], for client: Client) {
        store.withKeyspace { keyspace in
            for key in keys where client.watched[key] == nil {
                let kept = Key(raw: key.bytes.compacted())
                client.watched[kept] = keyspace.watch(kept)
            }
        }
    }

    func unwatch(_ client: Client) {
        guard !client.watched.isEmpty else { return }
        store.withKeyspace { keyspace in
            for (key, mark) in client.watched { keyspace.unwatch(key, mark) }
        }
        client.watched = [:]
    }

    /// CONFIG RESETSTAT.
    func resetStatistics() {
        statistics = Statistics(calls: Array(repeating: 0, count: directory.entries.count))
        store.withKeyspace { $0.resetCounts() }
    }

    private func unsubscribe(_ client: Client) {
        guard let subscriber = client.subscriber else { return }
        store.subscribers.unsubscribe(
            subscriber,
            from: client.channels.map(ChannelSelector.channel) + client.patterns.map(ChannelSelector.pattern)
                + client.shardChannels.map(ChannelSelector.shardChannel))
        client.channels = []
        client.patterns = []
        client.shardChannels = []
        client.subscriber = nil
    }
}

/// The line of MONITOR for one command.
enum MonitorLine {
    static func text(_ arguments: [Bytes], at moment: Timestamp, address: String) -> Bytes {
        let fraction = String(moment.milliseconds % 1000 * 1000 + 1_000_000).dropFirst()
        var line = Array("\(moment.milliseconds / 1000).\(fraction) [0 \(address)]".utf8)
        for argument in arguments {
            line.append(UInt8(ascii: " "))
            quote(argument, into: &line)
        }
        return Bytes(line)
    }

    /// Redis's `sdscatrepr`.
    private static func quote(_ text: Bytes, into line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                line.append(UInt8(ascii: "\\"))
                line.append(byte)
            case 10: line.append(contentsOf: "\\n".utf8)
            case 13: line.append(contentsOf: "\\r".utf8)
            case 9: line.append(contentsOf: "\\t".utf8)
            case 7: line.append(contentsOf: "\\a".utf8)
            case 8: line.append(contentsOf: "\\b".utf8)
            case 32..<127: line.append(byte)
            default:
                line.append(contentsOf: "\\x".utf8)
                let digits = Array("0123456789abcdef".utf8)
                line.append(digits[Int(byte >> 4)])
                line.append(digits[Int(byte & 15)])
            }
        }
        line.append(UInt8(ascii: "\""))
    }
}
