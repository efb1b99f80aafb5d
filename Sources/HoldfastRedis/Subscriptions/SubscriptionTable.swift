import DequeModule
import HoldfastStore

/// Who listens to what over one connection, as a value: what to send when listeners come and go, and whom each message concerns.
/// ``SubscriptionHub`` does what it decides.
///
/// A selector is subscribed to once, however many listen. The server confirms in the order of the commands, so each command that
/// was sent is remembered until its confirmation, with a serial: a confirmation of an earlier subscription of the same selector,
/// which was given up in between, is not taken for the later one's.
struct SubscriptionTable {
    /// A subscription, by the identity of its inbox.
    typealias Member = ObjectIdentifier

    /// What a received item asks for.
    enum Outcome {
        case nothing
        case message([SubscriptionInbox], Channel, Bytes)
        case progress(Progress)
        /// The answer to showing credentials; nil where they were accepted.
        case authenticated(StoreError?)
    }

    struct Progress {
        /// New subscriptions that are complete now.
        var confirmed: [Member] = []
        /// New subscriptions that the server refused.
        var refused: [Member] = []
        var refusal: StoreError?
        /// Older ones that cannot be restored, for the same reason.
        var ended: [SubscriptionInbox] = []
        /// Those that are restored now and may have missed something.
        var restored: [SubscriptionInbox] = []
    }

    private struct Entry {
        var inboxes: [Member: SubscriptionInbox] = [:]
        var serial = 0
        var isConfirmed = false
    }

    private struct Newcomer {
        let selectors: Set<ChannelSelector>
        var missing: Set<ChannelSelector>
    }

    private enum Sent {
        case subscribe(ChannelSelector, serial: Int)
        case unsubscribe(ChannelSelector)
        case ping
        case authentication
    }

    private var entries: [ChannelSelector: Entry] = [:]
    /// Subscriptions whose first confirmation is outstanding.
    private var newcomers: [Member: Newcomer] = [:]
    /// Subscriptions that lost their connection and have not been told yet.
    private var lost: [Member: SubscriptionInbox] = [:]
    /// The serials of the commands that restore them.
    private var restoring: Set<Int> = []
    private var sent = Deque<Sent>()
    private var lastSerial = 0
    private(set) var isConnected = false

    var isEmpty: Bool { entries.isEmpty }
    /// Whether some answer is outstanding.
    var isAwaiting: Bool { !sent.isEmpty }

    // MARK: - Listeners

    /// Adds a subscription.
    /// - Returns: the commands to send, and whether everything is confirmed already.
    mutating func add(_ inbox: SubscriptionInbox, to selectors: [ChannelSelector]) -> (commands: [[Bytes]], isConfirmed: Bool) {
        let member = Member(inbox)
        let selectors = Set(selectors)
        var commands: [[Bytes]] = []
        var missing: Set<ChannelSelector> = []
        for selector in selectors {
            let isNew = entries[selector] == nil
            entries[selector, default: Entry()].inboxes[member] = inbox
            if isNew, isConnected { commands.append(subscribe(selector)) }
            if entries[selector]?.isConfirmed != true { missing.insert(selector) }
        }
        if !missing.isEmpty { newcomers[member] = Newcomer(selectors: selectors, missing: missing) }
        return (commands, missing.isEmpty)
    }

    /// Removes a subscription.
    /// - Returns: the commands to send.
    mutating func remove(_ inbox: SubscriptionInbox, from selectors: [ChannelSelector]) -> [[Bytes]] {
        let member = Member(inbox)
        newcomers[member] = nil
        lost[member] = nil
        var commands: [[Bytes]] = []
        for selector in Set(selectors) {
            guard entries[selector]?.inboxes.removeValue(forKey: member) != nil else { continue }
            guard entries[selector]?.inboxes.isEmpty == true else { continue }
            entries[selector] = nil
            guard isConnected else { continue }
            sent.append(.unsubscribe(selector))
            commands.append(selector.command(channel: "UNSUBSCRIBE", pattern: "PUNSUBSCRIBE", shard: "SUNSUBSCRIBE"))
        }
        return commands
    }

    /// Forgets everything, and answers who listened.
    mutating func removeAll() -> [SubscriptionInbox] {
        var inboxes: [Member: SubscriptionInbox] = [:]
        for entry in entries.values { inboxes.merge(entry.inboxes) { first, _ in first } }
        self = SubscriptionTable()
        return Array(inboxes.values)
    }

    private mutating func subscribe(_ selector: ChannelSelector) -> [Bytes] {
        lastSerial += 1
        entries[selector]?.serial = lastSerial
        sent.append(.subscribe(selector, serial: lastSerial))
        return selector.command(channel: "SUBSCRIBE", pattern: "PSUBSCRIBE", shard: "SSUBSCRIBE")
    }

    // MARK: - The connection

    /// A connection is there.
    /// - Returns: the commands that restore all that is listened to.
    mutating func connected() -> [[Bytes]] {
        isConnected = true
        let commands = entries.keys.map { subscribe($0) }
        restoring = lost.isEmpty ? [] : Set(entries.values.map(\.serial))
        return commands
    }

    mutating func disconnected() {
        isConnected = false
        sent.removeAll()
        restoring.removeAll()
        newcomers = newcomers.mapValues { Newcomer(selectors: $0.selectors, missing: $0.selectors) }
        for selector in entries.keys {
            entries[selector]?.isConfirmed = false
            for (member, inbox) in entries[selector]?.inboxes ?? [:] where newcomers[member] == nil { lost[member] = inbox }
        }
    }

    /// - Parameter command: what shows the credentials.
    mutating func authenticate(_ command: [Bytes]) -> [Bytes] {
        sent.append(.authentication)
        return command
    }

    mutating func ping() -> [Bytes] {
        sent.append(.ping)
        return ["PING"]
    }

    // MARK: - What the server says

    mutating func receive(_ item: RESPItem) throws(StoreError) -> Outcome {
        switch item {
        case .push(let parts), .reply(.array(let parts)): return try receive(parts)
        case .reply(.error(let error)): return try refused(StoreError(error, operation: "SUBSCRIBE"))
        case .reply: return try answered()
        }
    }

    private mutating func receive(_ parts: [Reply]) throws(StoreError) -> Outcome {
        switch parts.first?.bytes {
        case let word? where word == "message" || word == "smessage":
            guard parts.count == 3, let name = parts[1].bytes, let payload = parts[2].bytes else { throw Self.violation }
            let channel = Channel(name)
            return message(entries[word == "message" ? .channel(channel) : .shardChannel(channel)], channel, payload)
        case "pmessage":
            guard parts.count == 4, let pattern = parts[1].bytes, let name = parts[2].bytes, let payload = parts[3].bytes else {
                throw Self.violation
            }
            return message(entries[.pattern(pattern)], Channel(name), payload)
        case "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "pong": return try answered()
        case "ssubscribe":
            guard let name = parts.dropFirst().first?.bytes, case .subscribe(.shardChannel(Channel(name)), _)? = sent.first else {
                throw Self.moved
            }
            return try answered()
        case "sunsubscribe":
            // Unasked for, it tells that the slot has gone to another node. What was sent may be answered in any way now: a new
            // connection will be told where everything is.
            guard let name = parts.dropFirst().first?.bytes, case .unsubscribe(.shardChannel(Channel(name)))? = sent.first else {
                throw Self.moved
            }
            return try answered()
        default: return .nothing
        }
    }

    private func message(_ entry: Entry?, _ channel: Channel, _ payload: Bytes) -> Outcome {
        entry.map { .message(Array($0.inboxes.values), channel, payload) } ?? .nothing
    }

    /// The first of the commands that were sent has succeeded.
    private mutating func answered() throws(StoreError) -> Outcome {
        guard let first = sent.popFirst() else { throw Self.violation }
        if case .authentication = first { return .authenticated(nil) }
        guard case .subscribe(let selector, let serial) = first else { return .nothing }
        var progress = Progress()
        if entries[selector]?.serial == serial {
            entries[selector]?.isConfirmed = true
            for member in entries[selector]?.inboxes.keys.map({ $0 }) ?? [] {
                newcomers[member]?.missing.remove(selector)
                if newcomers[member]?.missing.isEmpty == true {
                    newcomers[member] = nil
                    progress.confirmed.append(member)
                }
            }
        }
        progress.restored = restored(by: serial)
        return .progress(progress)
    }

    /// The first of the commands that were sent was refused: those who wanted it do without.
    private mutating func refused(_ error: StoreError) throws(StoreError) -> Outcome {
        guard let first = sent.popFirst() else { throw error }
        // An answer to giving a channel up that the server had just taken away: which command it belongs to is not known.
        if case .unsubscribe = first { throw Self.moved }
        if case .authentication = first { return .authenticated(error) }
        guard case .subscribe(let selector, let serial) = first else { return .nothing }
        var progress = Progress(refusal: error)
        if entries[selector]?.serial == serial {
            for (member, inbox) in entries.removeValue(forKey: selector)?.inboxes ?? [:] {
                if newcomers[member] != nil { progress.refused.append(member) } else { progress.ended.append(inbox) }
                lost[member] = nil
            }
        }
        progress.restored = restored(by: serial)
        return .progress(progress)
    }

    private mutating func restored(by serial: Int) -> [SubscriptionInbox] {
        guard restoring.remove(serial) != nil, restoring.isEmpty else { return [] }
        defer { lost.removeAll() }
        return Array(lost.values)
    }

    private static let moved = StoreError(.connectionLost, "The node serves the shard channel no longer", effect: .unknown)
    private static let violation = StoreError(
        .protocolViolation, "The server sent no valid publication or confirmation", effect: .unknown)
}

extension ChannelSelector {
    fileprivate func command(channel: Bytes, pattern: Bytes, shard: Bytes) -> [Bytes] {
        switch self {
        case .channel(let name): [channel, name.bytes]
        case .pattern(let glob): [pattern, glob]
        case .shardChannel(let name): [shard, name.bytes]
        }
    }
}
