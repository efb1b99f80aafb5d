import HoldfastStore
import NIOCore

/// What a client's connection does for it.
protocol ClientConnection: AnyObject {
    var eventLoop: any EventLoop { get }
    /// Sends what the client's writer holds, as far as the peer takes it.
    func flush()
    /// Sends what can be sent at once, and ends the connection.
    func end()
    /// Carries out what has come and was held, and reads on.
    func goOn()
}

/// One who is connected: what it has said about itself, what it has begun, and what it is still to be sent.
final class Client {
    let id: Int
    let address: String
    let localAddress: String
    let connectedAt: Timestamp
    private(set) weak var connection: (any ClientConnection)?

    var name = Bytes()
    var libraryName = Bytes()
    var libraryVersion = Bytes()
    var lastActive: Timestamp
    var isProtectedFromEviction = false
    var keepsUsage = false

    // Hot state: touched on the event loop only and never while it is being changed, so the run-time check of that is left out.
    @exclusivity(unchecked) var parser = RequestParser()
    @exclusivity(unchecked) var writer = ReplyWriter()
    /// The arguments of the command being carried out, name first.
    @exclusivity(unchecked) var arguments: [Bytes] = []

    @exclusivity(unchecked) var lastCommand: CommandDirectory.Entry?

    @exclusivity(unchecked) var isClosing = false
    /// Whether more waited for it than may: what is still written to it goes nowhere.
    @exclusivity(unchecked) private(set) var isLost = false
    /// Whether its next request waits for the disk, and nothing more is read of it.
    @exclusivity(unchecked) var isHeld = false
    var isAuthenticated: Bool { didSet { updateIsPlain() } }
    var transaction: Transaction? { didSet { updateIsPlain() } }
    var watched: [Key: Keyspace.WatchMark] = [:]
    var channels: Set<HoldfastStore.Channel> = [] { didSet { updateIsPlain() } }
    var patterns: Set<Bytes> = [] { didSet { updateIsPlain() } }
    var shardChannels: Set<HoldfastStore.Channel> = [] { didSet { updateIsPlain() } }
    var subscriber: ClientSubscriber?
    var isMonitor = false
    var answers = Answers.all { didSet { updateIsPlain() } }
    private var flushIsScheduled = false

    /// CLIENT REPLY.
    enum Answers {
        case all
        case none
        /// All but the one to the next command.
        case skipNext
    }

    /// Whether a command needs nothing but to be looked up and carried out.
    @exclusivity(unchecked) private(set) var isPlain = true

    init(
        id: Int, connection: any ClientConnection, address: String, localAddress: String, connectedAt: Timestamp,
        isAuthenticated: Bool
    ) {
        self.id = id
        self.connection = connection
        self.address = address
        self.localAddress = localAddress
        self.connectedAt = connectedAt
        self.isAuthenticated = isAuthenticated
        lastActive = connectedAt
        updateIsPlain()
    }

    /// As CLIENT LIST has it.
    var shownCommand: String { lastCommand?.name.lowercased() ?? "NULL" }

    var subscriptionCount: Int { channels.count + patterns.count + shardChannels.count }

    /// Whether RESP2's rule holds that a subscriber may do little else.
    var onlyListens: Bool { subscriptionCount > 0 && !writer.isRESP3 }

    func updateIsPlain() { isPlain = isAuthenticated && transaction == nil && !onlyListens && answers == .all }

    /// Whether it may be sent this much more that it did not ask for. One for which too much waits then is lost.
    func admits(_ bytes: Int, within limit: Int) -> Bool {
        guard !isClosing else { return false }
        if writer.count + bytes > limit { lose() }
        return !isClosing
    }

    /// Gives it up: drops what waits for it, and ends its connection in a turn of the loop for itself. Whoever finds that it is lost may hold
    /// the lock of the store or of ``HoldfastStore/Subscribers``, which a connection takes when it ends.
    func lose() {
        guard !isLost else { return }
        isLost = true
        isClosing = true
        writer.removeAll()
        guard let loop = connection?.eventLoop else { return }
        let bound = NIOLoopBound(self, eventLoop: loop)
        loop.execute { bound.value.connection?.end() }
    }

    /// Sends what was written outside of the client's own turn, once for all that is written until the loop gets to it.
    func scheduleFlush() {
        guard !flushIsScheduled, let connection else { return }
        flushIsScheduled = true
        let loop = connection.eventLoop
        let bound = NIOLoopBound(self, eventLoop: loop)
        loop.execute {
            bound.value.flushIsScheduled = false
            bound.value.connection?.flush()
        }
    }
}
