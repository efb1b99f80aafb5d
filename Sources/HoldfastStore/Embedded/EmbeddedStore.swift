/// The store that needs no server: a key space in this process, with the same answers as Redis.
///
/// One lock guards the key space, so every operation, transaction and procedure is atomic. Calls never wait on anything but that
/// lock, for the time of one operation.
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

    private let keyspace: Locked<Keyspace>
    private let subscribers = Subscribers()
    private let time: any TimeSource

    public init(_ configuration: Configuration = Configuration(), time: any TimeSource = .system) {
        self.time = time
        keyspace = Locked(Keyspace(limits: configuration.limits, seed: configuration.seed ?? .random(in: .min ... .max)))
    }

    public func execute(_ operation: Operation) async throws(StoreError) -> Reply { perform(operation) }

    public func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        switch batch.mode {
        case .pipeline: return batch.operations.map { perform($0) }
        case .transaction:
            try admit(batch.operations)
            let replies = atomically { keyspace in batch.operations.map { keyspace.execute($0) } }
            // Deliveries follow the change that they tell of.
            return zip(batch.operations, replies).map { operation, reply in deliver(operation) ?? reply }
        }
    }

    public func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let script = procedure.script
        let now = procedure.arguments.first?.integer.map(Timestamp.init(milliseconds:))
        let arguments = Array(procedure.arguments.dropFirst())
        let reply = atomically { keyspace -> Reply in
            if let now { keyspace.advance(to: now) }
            do throws(ReplyError) {
                if script.needsMemory { try keyspace.makeRoom(for: procedure.growth) }
                return try script.body(&keyspace, procedure.keys, arguments, now ?? keyspace.now)
            } catch {
                return .error(error)
            }
        }
        return try procedure.output(of: reply)
    }

    public func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        let (subscription, inbox) = Subscription.make()
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
            while atomically({ $0.removeExpired(limit: 200) }) == 200 { await Task.yield() }
        }
    }

    // MARK: - Inside

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

    private func perform(_ operation: Operation) -> Reply {
        deliver(operation) ?? atomically { $0.execute(operation) }
    }

    /// Publishes, where the operation is a publication.
    private func deliver(_ operation: Operation) -> Reply? {
        guard case .pubSub(.publish(let channel, let payload)) = operation.resolved else { return nil }
        return Reply(subscribers.publish(payload, on: channel))
    }

    private func atomically<R>(_ body: (inout Keyspace) -> R) -> R {
        let now = time.now
        return keyspace.withLock { keyspace in
            keyspace.advance(to: now)
            return body(&keyspace)
        }
    }
}

extension Operation {
    /// The typed operation behind a raw one, where the command table knows it.
    fileprivate var resolved: Operation {
        guard case .raw(let arguments) = self, let operation = try? CommandTable.shared.operation(arguments) else { return self }
        return operation
    }
}
