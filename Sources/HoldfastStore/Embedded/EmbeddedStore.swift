/// The store that needs no server: a key space in this process, with the same answers as Redis.
///
/// One lock guards the key space, so every operation, transaction and procedure is atomic. Calls never wait on anything but that
/// lock, for the time of one operation; one that keeps its entries in a folder (``open(_:journal:_:time:observer:)``) may also wait
/// for the disk, see `EmbeddedStore+Journal.swift`.
///
/// It goes by the wall clock, as Redis does, also where that is set: forward, and entries end early; back, and they end as much later.
public final class EmbeddedStore: Store {
    public struct Configuration: Sendable {
        public var limits: Keyspace.Limits
        /// For tests: how eviction samples and which members SPOP takes.
        public var seed: UInt64?

        public init(limits: Keyspace.Limits = Keyspace.Limits(), seed: UInt64? = nil) {
            self.limits = limits
            self.seed = seed
        }
    }

    let keyspace: Locked<Keyspace>
    /// What keeps the entries in a folder; nil where they live in memory only.
    let journal: Journal?
    package let subscribers = Subscribers()
    private let time: any TimeSource

    public init(_ configuration: Configuration = Configuration(), time: any TimeSource = .system) {
        self.time = time
        keyspace = Locked(configuration.keyspace())
        journal = nil
    }

    init(_ keyspace: Locked<Keyspace>, _ journal: Journal, time: any TimeSource) {
        self.time = time
        self.keyspace = keyspace
        self.journal = journal
    }

    deinit { journal?.askForEnd() }

    public func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        guard let journal else { return perform(operation) }
        return try await perform([operation], journal)[0]
    }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        switch batch.mode {
        case .pipeline:
            guard let journal else { return batch.operations.map { perform($0) } }
            return try await perform(batch.operations, journal)
        case .transaction:
            try admit(batch.operations)
            if let journal { return try await transact(batch, journal) }
            let replies = atomically { Self.carryOut(batch, on: &$0) }
            // Deliveries follow the change that they tell of.
            return zip(batch.operations, replies).map { operation, reply in deliver(operation) ?? reply }
        }
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let script = procedure.script
        func step(_ keyspace: inout Keyspace) -> Reply {
            do throws(ReplyError) {
                if script.needsMemory, keyspace.limits.maximumBytes > 0 { try keyspace.makeRoom(for: procedure.growth) }
                return try script.body(&keyspace, procedure.keys, procedure.ownArguments, procedure.now ?? keyspace.now)
            } catch {
                return .error(error)
            }
        }
        guard let journal else { return try procedure.output(of: atomically(step)) }
        return try procedure.output(of: try await durably(journal, mayWrite: true, step))
    }

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        let (subscription, inbox) = Subscription.make(whenFull: overflow)
        subscribers.add(inbox, to: channels)
        defer { subscribers.remove(inbox, from: channels) }
        return try await body(subscription)
    }

    // MARK: - Beyond the seam

    /// Counts and sizes, for health and metrics.
    public struct Statistics: Sendable {
        public let keys: Int
        public let usedBytes: Int
        public let maximumBytes: Int
        public let expired: Int
        public let evicted: Int
    }

    public var statistics: Statistics {
        atomically { keyspace in
            Statistics(
                keys: keyspace.count, usedBytes: keyspace.usedBytes, maximumBytes: keyspace.limits.maximumBytes,
                expired: keyspace.expiredCount, evicted: keyspace.evictedCount)
        }
    }

    /// Gives back the memory of entries whose time has come, in small bites, until cancelled. Nothing depends on it but memory:
    /// expired entries are never seen.
    public func removeExpiredEntries(every interval: Duration = .milliseconds(100)) async throws {
        while true {
            try await time.sleep(for: interval)
            // A bite of 200 keeps the lock for well under a millisecond.
            while removeExpired() == 200 { await Task.yield() }
        }
    }

    /// One critical section with the key space at the present time, for who carries out many operations at once without waiting
    /// in between (a pipeline of the RESP endpoint). Short work only: everybody else waits for it.
    ///
    /// Publications are not carried out by a key space: ``Subscribers/publish(_:on:)`` is for them, after the body. Effects go to the
    /// journal, but nobody waits for the disk: what is answered here is safe within its interval at best. Before it changes anything the
    /// body asks whether it may (``Keyspace/writeAdmission``).
    package func withKeyspace<R>(_ body: (inout Keyspace) -> R) -> R {
        let (result, _, wakes) = step(body)
        if wakes { journal?.doorbell.ring() }
        return result
    }

    // MARK: - Inside

    private func removeExpired() -> Int {
        let (removed, _, wakes) = step { $0.removeExpired(limit: 200) }
        if wakes { journal?.doorbell.ring() }
        return removed
    }

    /// Refuses a transaction as a whole where a server would refuse to queue one of its commands.
    private func admit(_ operations: [Operation]) throws(StoreError) {
        guard operations.count > 1 else { return }
        for case .raw(let arguments) in operations {
            do throws(ReplyError) {
                _ = try CommandTable.shared.spec(for: arguments)
            } catch {
                throw StoreError(error, operation: "transaction")
            }
        }
    }

    /// The commands of a transaction, one after the other; see ``Batch/maximumReplyBytes``.
    static func carryOut(_ batch: Batch, on keyspace: inout Keyspace) -> [Reply] {
        guard let limit = batch.maximumReplyBytes else { return batch.operations.map { keyspace.execute($0) } }
        var left = limit
        var replies: [Reply] = []
        replies.reserveCapacity(batch.operations.count)
        for operation in batch.operations {
            guard left >= 0 || operation.mayWrite else {
                replies.append(.error(.repliesTooLarge(limit)))
                continue
            }
            let reply = keyspace.execute(operation)
            if left >= 0 { left -= reply.size }
            replies.append(reply)
        }
        return replies
    }

    func perform(_ operation: Operation) -> Reply {
        deliver(operation) ?? atomically { $0.execute(operation) }
    }

    /// Publishes, where the operation is a publication.
    func deliver(_ operation: Operation) -> Reply? {
        switch operation.resolved {
        case .pubSub(.publish(let channel, let payload)): Reply(subscribers.publish(payload, on: channel))
        case .pubSub(.spublish(let channel, let payload)): Reply(subscribers.publish(payload, onShard: channel))
        default: nil
        }
    }

    private func atomically<R>(_ body: (inout Keyspace) -> R) -> R {
        let now = time.now
        return keyspace.withLock { keyspace in
            keyspace.advance(to: now)
            return body(&keyspace)
        }
    }

    /// A step whose effects are logged.
    ///
    /// - Returns: what the body answers, where the log ends, and whether the journal has to be woken.
    func step<R>(_ body: (inout Keyspace) -> R) -> (result: R, end: Int, wakes: Bool) {
        let now = time.now
        return keyspace.withLock { keyspace in
            keyspace.advance(to: now)
            let result = body(&keyspace)
            let wakes = keyspace.log.endStep()
            return (result, keyspace.log.end, wakes)
        }
    }
}

extension EmbeddedStore.Configuration {
    func keyspace() -> Keyspace { Keyspace(limits: limits, seed: seed ?? .random(in: .min ... .max)) }
}

extension Operation {
    /// The typed operation behind a raw one, where the command table knows it.
    fileprivate var resolved: Operation {
        guard case .raw(let arguments) = self, let operation = try? CommandTable.shared.operation(arguments) else { return self }
        return operation
    }
}
