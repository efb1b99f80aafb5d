import HoldfastStore

/// How the server gets the records that were made while it was away.
///
/// A record goes with the attempt that has it, so that it is answered, given back or found "in progress" there as here. It waits under a
/// name that holds its operation's: the record of a later operation under the same key comes behind what gives the earlier one back.
enum IdempotencyReplay {
    /// Which attempt has a record.
    struct Lease {
        let owner: Bytes
        /// On this process's clock.
        let until: Timestamp
        /// Whether it drew the operation's name.
        let isFirst: Bool
    }

    static func register(in failover: Failover, lease: Duration, retention: Duration) {
        let time = failover.time
        let adopt: ReplayAction.Step = { (entry, store) throws(StoreError) in
            guard entry.arguments.count >= 3 else {
                throw StoreError(.unsupportedFormat, "The entry has not the form of \(entry.action)")
            }
            let words = entry.arguments + ["", "", ""].dropFirst(entry.arguments.count - 3)
            let left = (words[4].integer ?? 0) - entry.now(by: time).milliseconds
            // Not longer than a lease, whatever has become of the clock over a restart.
            let taken: [Bytes] = left > 0 ? [words[3], Bytes(min(left, lease.milliseconds)), words[5]] : ["", "", ""]
            _ = try await store.run(
                Procedure(
                    IdempotencyProcedures.adopt, keys: entry.keys,
                    arguments: words[..<3] + taken + [Bytes(retention.milliseconds)]
                ) { $0 })
        }
        let release: ReplayAction.Step = { (entry, store) throws(StoreError) in
            _ = try await store.run(Procedure(IdempotencyProcedures.release, keys: entry.keys, arguments: entry.arguments) { $0 })
        }
        failover.outbox.register(
            ReplayAction(IdempotencyProcedures.adopt.identifier, endures: true, recall: adopt, carryOut: adopt))
        failover.outbox.register(
            ReplayAction(IdempotencyProcedures.release.identifier, endures: true, recall: release, carryOut: release))
    }

    /// A record, with its answer where there is one, else with the attempt that has it.
    static func record(
        _ key: Key, _ content: Bytes, _ operation: Bytes, _ lease: Lease? = nil, answer: Bytes = Bytes()
    ) -> Outbox.Item {
        var words = [content, operation, answer]
        if let lease { words += [lease.owner, Bytes(lease.until.milliseconds), lease.isFirst ? "1" : "0"] }
        return Outbox.Item(
            IdempotencyProcedures.adopt.identifier, keys: [key], arguments: words, named: name(key, operation))
    }

    /// That a record is to be forgotten.
    static func release(_ key: Key, _ owner: Bytes) -> Outbox.Item {
        Outbox.Item(IdempotencyProcedures.release.identifier, keys: [key], arguments: [owner, "1"])
    }

    static func name(_ key: Key, _ operation: Bytes) -> Bytes {
        Bytes(Array("idempotency:\(operation.lossyString):".utf8) + Array(key.bytes))
    }

    /// Whether an entry is the record as the attempt made it.
    static func isFirst(_ owner: Bytes, _ entry: OutboxEntry) -> Bool {
        entry.arguments.count == 6 && entry.arguments[3] == owner && entry.arguments[5] == "1"
    }
}
