import HoldfastStore
import NIOCore

/// All subscriptions of a store, over one connection of their own, which is made when first needed and, as long as anyone
/// listens, made again when lost.
final class SubscriptionHub: Sendable {
    typealias Confirmation = CheckedContinuation<Result<Void, StoreError>, Never>
    private typealias Member = SubscriptionTable.Member

    private enum Phase {
        /// Not connected, because nobody listens.
        case idle
        case connecting
        case ready(any NIOCore.Channel)
        /// Connecting has failed, and is tried again after a pause.
        case pausing(StoreError)
        case closed
    }

    /// A new subscription that waits for its confirmation.
    private struct Newcomer {
        let inbox: SubscriptionInbox
        let selectors: [ChannelSelector]
        let confirmation: Confirmation
    }

    private struct State {
        var phase = Phase.idle
        var table = SubscriptionTable()
        var newcomers: [Member: Newcomer] = [:]
        /// Commands to be sent, in the order in which `table` awaits their answers.
        var outgoing = CommandWriter()
        /// Those who wait for the answers to their credentials, in order.
        var authenticating: [Confirmation] = []
        var failures = 0
        /// Which attempt to connect counts: what an earlier one brings is not wanted any more.
        var attempt = 0
        /// Whether anything has come since the last heartbeat.
        var hasHeard = false

        var channel: (any NIOCore.Channel)? {
            if case .ready(let channel) = phase { channel } else { nil }
        }

        mutating func write(_ commands: [[Bytes]]) {
            for command in commands { outgoing.command(command) }
        }
    }

    private let state = Locked(State())
    private let connector: Connector
    private let eventLoop: any EventLoop
    private let heartbeat: TimeAmount
    private let patience: TimeAmount
    private let eachBeat: @Sendable () -> Void

    /// - Parameter eachBeat: called once in each command timeout while the connection is there.
    init(_ connector: Connector, on eventLoop: any EventLoop, eachBeat: @escaping @Sendable () -> Void = {}) {
        self.connector = connector
        self.eventLoop = eventLoop
        self.eachBeat = eachBeat
        let configuration = connector.configuration
        heartbeat = .nanoseconds(configuration.commandTimeout.clampedNanoseconds)
        patience = .nanoseconds((configuration.commandTimeout + configuration.connectTimeout).clampedNanoseconds)
    }

    var isConnected: Bool { state.withLock { $0.channel != nil } }

    // MARK: - Listeners

    /// Subscribes, and returns when the server has confirmed it all.
    func add(_ inbox: SubscriptionInbox, to selectors: [ChannelSelector]) async throws(StoreError) {
        let member = Member(inbox)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { begin(Newcomer(inbox: inbox, selectors: selectors, confirmation: $0)) }
        } onCancel: {
            end(member, with: StoreError(.cancelled))
        }
        try result.get()
    }

    private enum Beginning {
        case done(Result<Void, StoreError>)
        case waits(connects: Bool)
    }

    private func begin(_ newcomer: Newcomer) {
        let member = Member(newcomer.inbox)
        let beginning = state.withLock { state -> Beginning in
            if Task.isCancelled { return .done(.failure(StoreError(.cancelled))) }
            switch state.phase {
            case .closed: return .done(.failure(StoreError(.shuttingDown)))
            case .pausing(let failure): return .done(.failure(failure))
            case .idle, .connecting, .ready: break
            }
            let (commands, isConfirmed) = state.table.add(newcomer.inbox, to: newcomer.selectors)
            if isConfirmed { return .done(.success(())) }
            state.write(commands)
            state.newcomers[member] = newcomer
            guard case .idle = state.phase else { return .waits(connects: false) }
            state.phase = .connecting
            return .waits(connects: true)
        }
        switch beginning {
        case .done(let result): newcomer.confirmation.resume(returning: result)
        case .waits(let connects):
            eventLoop.execute { connects ? self.connect() : self.flush() }
            giveUp(newcomer.inbox)
        }
    }

    /// Sets the time after which a subscription that is not confirmed fails. The inbox is kept alive until then: a member is known
    /// by its address, which must not become another's.
    private func giveUp(_ inbox: SubscriptionInbox) {
        var patience = patience
        var error = StoreError(.timeout, "The subscription was not confirmed in time")
        if let deadline = Uptime.callersDeadline {
            let now = Uptime.nanoseconds
            let rest = TimeAmount.nanoseconds(Int64(clamping: deadline > now ? deadline - now : 0))
            if rest < patience { (patience, error) = (rest, StoreError(.deadlineExceeded)) }
        }
        eventLoop.scheduleTask(in: patience) { [error] in self.end(Member(inbox), with: error) }
    }

    /// Gives a new subscription up, if it still waits.
    private func end(_ member: Member, with error: StoreError) {
        let newcomer = state.withLock { state -> Newcomer? in
            guard let newcomer = state.newcomers.removeValue(forKey: member) else { return nil }
            state.write(state.table.remove(newcomer.inbox, from: newcomer.selectors))
            return newcomer
        }
        guard let newcomer else { return }
        eventLoop.execute { self.flush() }
        newcomer.confirmation.resume(returning: .failure(error))
    }

    /// Unsubscribes; nothing is delivered from then on.
    func remove(_ inbox: SubscriptionInbox, from selectors: [ChannelSelector]) {
        state.withLock { $0.write($0.table.remove(inbox, from: selectors)) }
        eventLoop.execute { self.flush() }
        inbox.finish()
    }

    /// Ends all subscriptions, and refuses new ones.
    func close() {
        let (newcomers, inboxes, authenticating, channel) = state.withLock { state in
            let ended = (Array(state.newcomers.values), state.table.removeAll(), state.authenticating, state.channel)
            state.phase = .closed
            state.newcomers = [:]
            state.authenticating = []
            return ended
        }
        for confirmation in authenticating { confirmation.resume(returning: .success(())) }
        for newcomer in newcomers { newcomer.confirmation.resume(returning: .failure(StoreError(.shuttingDown))) }
        for inbox in inboxes { inbox.finish() }
        channel?.close(promise: nil)
    }

    // MARK: - The connection

    /// Makes a new connection, because the server at the other end is not the one to listen to any more.
    func renew() { eventLoop.execute { self.leave() } }

    /// On the event loop, where attempts to connect begin and end: what is decided here holds until it is done.
    private func leave() {
        let (channel, isConnecting) = state.withLock { state in
            if case .connecting = state.phase { (state.channel, true) } else { (state.channel, false) }
        }
        if let channel { return channel.close(promise: nil) }
        // An attempt that is under way goes to the wrong server: another one counts.
        if isConnecting { connect() } else { tryAgain() }
    }

    /// Shows the server other credentials, where the connection is there: a new one shows them by itself. In RESP2 a connection that
    /// listens cannot say so: it is made anew, which its listeners see as a gap.
    ///
    /// - Throws: ``ErrorCode/serverRefused`` where they are not accepted.
    func authenticate(_ command: [Bytes]) async throws(StoreError) {
        let result = await withCheckedContinuation { (confirmation: Confirmation) in
            let isSent = state.withLock { state in
                guard state.channel != nil else { return false }
                state.write([state.table.authenticate(command)])
                state.authenticating.append(confirmation)
                return true
            }
            guard isSent else { return confirmation.resume(returning: .success(())) }
            eventLoop.execute { self.flush() }
        }
        do { try result.get() } catch {
            guard error.message.hasPrefix("ERR Can't execute") else {
                throw StoreError(.serverRefused, error.message, operation: "AUTH")
            }
            renew()
        }
    }

    private func authenticated(_ refusal: StoreError?) {
        let confirmation = state.withLock { $0.authenticating.isEmpty ? nil : $0.authenticating.removeFirst() }
        confirmation?.resume(returning: refusal.map { .failure($0) } ?? .success(()))
    }

    private func connect() {
        let attempt = state.withLock { state in
            state.attempt += 1
            return state.attempt
        }
        connector.connect(on: eventLoop, receiver: self).whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel, attempt)
            case .failure(let error): self.failed(error as? StoreError ?? StoreError(.connectionFailed, "\(error)"), attempt)
            }
        }
    }

    private func connected(_ channel: any NIOCore.Channel, _ attempt: Int) {
        let isWanted = state.withLock { state -> Bool in
            guard case .connecting = state.phase, state.attempt == attempt else { return false }
            state.phase = .ready(channel)
            state.failures = 0
            state.hasHeard = true
            state.write(state.table.connected())
            return true
        }
        guard isWanted else { return channel.close(promise: nil) }
        flush()
        scheduleHeartbeat(channel)
    }

    private func flush() {
        let (channel, buffer) = state.withLock { state -> ((any NIOCore.Channel)?, ByteBuffer?) in
            guard let channel = state.channel, !state.outgoing.buffer.isEmpty else { return (nil, nil) }
            return (channel, ByteBuffer(bytes: state.outgoing.take()))
        }
        if let buffer { channel?.writeAndFlush(buffer, promise: nil) }
    }

    /// Connecting failed: new subscriptions are told so, older ones wait for the next attempt.
    private func failed(_ error: StoreError, _ attempt: Int) {
        let fraction = Double.random(in: 0...1)
        let (newcomers, pause) = state.withLock { state -> ([Newcomer], Duration?) in
            guard case .connecting = state.phase, state.attempt == attempt else { return ([], nil) }
            let newcomers = Array(state.newcomers.values)
            state.newcomers = [:]
            // Not connected, so there is nothing to send.
            for newcomer in newcomers { _ = state.table.remove(newcomer.inbox, from: newcomer.selectors) }
            state.failures += 1
            state.phase = state.table.isEmpty ? .idle : .pausing(error)
            let pause = connector.configuration.backoff.pause(afterFailures: state.failures, fraction: fraction)
            return (newcomers, state.table.isEmpty ? nil : pause)
        }
        for newcomer in newcomers { newcomer.confirmation.resume(returning: .failure(error)) }
        guard let pause else { return }
        eventLoop.scheduleTask(in: .nanoseconds(pause.clampedNanoseconds)) { self.tryAgain() }
    }

    private func tryAgain() {
        let connects = state.withLock { state -> Bool in
            guard case .pausing = state.phase else { return false }
            state.phase = state.table.isEmpty ? .idle : .connecting
            return !state.table.isEmpty
        }
        if connects { connect() }
    }

    private func scheduleHeartbeat(_ channel: any NIOCore.Channel) {
        eventLoop.scheduleTask(in: heartbeat) { self.beat(channel) }
    }

    /// A listener sends nothing, so it would never notice that its peer is gone: it asks now and then.
    private func beat(_ channel: any NIOCore.Channel) {
        guard channel.isActive else { return }
        let isAlive = state.withLock { state -> Bool in
            defer { state.hasHeard = false }
            guard state.hasHeard || !state.table.isAwaiting else { return false }
            state.write([state.table.ping()])
            return true
        }
        guard isAlive else { return channel.close(promise: nil) }
        eachBeat()
        flush()
        scheduleHeartbeat(channel)
    }
}

extension SubscriptionHub: ConnectionReceiver {
    func received(_ items: inout [RESPItem]) -> StoreError? {
        var outcomes: [SubscriptionTable.Outcome] = []
        let failure = state.withLock { state -> StoreError? in
            state.hasHeard = true
            for item in items {
                do throws(StoreError) { outcomes.append(try state.table.receive(item)) } catch { return error }
            }
            return nil
        }
        for outcome in outcomes {
            switch outcome {
            case .nothing: break
            case .message(let inboxes, let channel, let payload):
                for inbox in inboxes { inbox.deliver(payload, on: channel) }
            case .progress(let progress): report(progress)
            case .authenticated(let refusal): authenticated(refusal)
            }
        }
        return failure
    }

    private func report(_ progress: SubscriptionTable.Progress) {
        for member in progress.confirmed {
            let newcomer = state.withLock { $0.newcomers.removeValue(forKey: member) }
            newcomer?.confirmation.resume(returning: .success(()))
        }
        if let refusal = progress.refusal {
            for member in progress.refused { end(member, with: refusal) }
        }
        for inbox in progress.ended { inbox.finish() }
        for inbox in progress.restored { inbox.announceGap() }
    }

    func writabilityChanged(to isWritable: Bool) {}

    func closed(_ channel: any NIOCore.Channel, _ error: StoreError, _ identity: ServerSideIdentity?) {
        let (reconnects, authenticating) = state.withLock { state -> (Bool, [Confirmation]) in
            // One that came too late was never used.
            guard state.channel === channel else { return (false, []) }
            state.table.disconnected()
            state.outgoing = CommandWriter()
            defer { state.authenticating = [] }
            state.phase = state.table.isEmpty ? .idle : .connecting
            return (!state.table.isEmpty, state.authenticating)
        }
        for confirmation in authenticating { confirmation.resume(returning: .success(())) }
        if reconnects { connect() }
    }
}
