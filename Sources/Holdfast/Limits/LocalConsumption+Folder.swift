import HoldfastStore

// Sums and batches in the outbox's folder, so that a process that ends during an outage does not open a second allowance.
//
// 1. A row says how much of something still counted when it was written; nobody waits for that. What changed is written twice a second, and
//    at a graceful end (``RateLimiter/run()``): `kill -9` takes along what was admitted or given back in the last second, at most.
// 2. Nothing stands in two rows: what goes from sums into a batch, or from a batch into its parts, does so in one step
//    (``LocalConsumption/Batch/owed``), and before it goes to the server. So whoever dies half-way has left it under the name that it was
//    charged by.
// 3. What was charged is removed with what is written next. Until then whoever finds it charges it under the same name, which the server knows.
// 4. Memory is never behind the folder: steps are made there one after the other, each from what memory holds when it begins.

extension LocalConsumption {
    static let table = "rate-limits"

    /// How many rows are written in one step, about.
    private static let step = 256

    /// Writes what changed since the last time, in steps. What the folder does not take is written the next time.
    func write(from local: any Store, sharedBy instances: Int) async {
        guard isDurable else { return }
        var left = state.withLock { $0.stale.count }
        while left > 0 {
            let rows = state.withLock { Set($0.stale.prefix(Self.step)) }
            left -= rows.count
            guard !rows.isEmpty, (try? await write(rows, from: local, sharedBy: instances)) != nil else { return }
        }
    }

    /// Has the folder know batches under their names, where it knows anything of them.
    func keep(_ batches: some Sequence<Batch>, from local: any Store, sharedBy instances: Int) async {
        guard isDurable else { return }
        let rows = state.withLock { state in Set(batches.filter { state.isOwing($0.operation) }.map(\.row)) }
        // Where it fails none of them is sent (``isKept(_:from:sharedBy:)``).
        try? await write(rows, from: local, sharedBy: instances)
    }

    /// Whether the folder has a batch under its name, or has nothing of it at all.
    func isKept(_ batch: Batch, from local: any Store, sharedBy instances: Int) async -> Bool {
        guard isDurable, state.withLock({ $0.isOwing(batch.operation) }) else { return true }
        return (try? await write([batch.row], from: local, sharedBy: instances)) != nil
    }

    /// Brings rows up to date in one step, together with those that must not be written without them.
    func write(_ rows: Set<Row>, from local: any Store, sharedBy instances: Int) async throws(StoreError) {
        guard isDurable, !rows.isEmpty else { return }
        try await folder.perform { () throws(StoreError) in
            let picture = self.state.withLock { $0.picture(of: rows) }
            let (fields, gone) = await self.fields(of: picture, from: local, sharedBy: instances)
            do throws(StoreError) {
                try await self.outbox.write(fields, removing: gone, in: Self.table)
                self.state.withLock { $0.isWritten(picture) }
            } catch {
                self.state.withLock { $0.isNotWritten(picture, mayBe: error.effect == .unknown) }
                throw error
            }
        }
    }

    /// What is in memory of some rows.
    struct Picture {
        struct Sum {
            let names: Namespace
            let key: Key
            let entry: Entry
        }
        /// With what was consumed after each, by the keys of its entries.
        var batches: [(batch: Batch, keys: [Key], newer: [Int])] = []
        var sums: [Sum] = []
        var gone: [Row] = []
    }

    private func fields(
        of picture: Picture, from local: any Store, sharedBy instances: Int
    ) async -> (fields: [HashField], gone: [Bytes]) {
        var (fields, gone): ([HashField], [Bytes]) = ([], picture.gone.map(\.field))
        let clock = now
        func put(_ row: Row, _ record: ConsumptionRecord) {
            if record.charges.isEmpty { gone.append(row.field) } else { fields.append(HashField(row.field, record.encoded)) }
        }
        for (batch, keys, newer) in picture.batches {
            let entries = keys.compactMap { batch.entries[$0] }
            let (counted, moment) = await counted(entries, newer, in: batch.names, from: local, sharedBy: instances)
            put(batch.row, ConsumptionRecord(batch, counted, at: moment, by: clock))
        }
        for (names, sums) in Dictionary(grouping: picture.sums, by: \.names) {
            for start in stride(from: 0, to: sums.count, by: RateLimitCall.maximumRules) {
                let some = sums[start..<min(start + RateLimitCall.maximumRules, sums.count)]
                let newer = some.map { -$0.entry.takenBack }
                let (counted, moment) = await counted(
                    some.map(\.entry), newer, in: names, from: local, sharedBy: instances)
                for (sum, entry) in zip(some, counted) {
                    put(.sum(names, sum.key), ConsumptionRecord(names, entry.map { [$0] } ?? [], at: moment, by: clock))
                }
            }
        }
        return (fields, gone)
    }

    /// Entries with what of them still counts; nil for those of which nothing does.
    private func counted(
        _ entries: [Entry], _ newer: [Int], in names: Namespace, from local: any Store, sharedBy instances: Int
    ) async -> ([Entry?], Timestamp) {
        // Where the local state cannot be read nothing is cut off.
        let counts = try? await counting(entries, newer, in: names, from: local, sharedBy: instances)
        guard let (amounts, moment) = counts else { return (entries, Timestamp(milliseconds: .max)) }
        let left = zip(entries, amounts).map { (entry, amount) -> Entry? in
            guard amount > 0 else { return nil }
            var entry = entry
            entry.amount = amount
            return entry
        }
        return (left, moment)
    }

    // MARK: - At the start

    /// Takes over what an earlier process left, and uses up the local share by it, as of the moment at which it was written.
    ///
    /// - Throws: ``/HoldfastStore/ErrorCode/dataUnreadable`` where a row cannot be read.
    func restore(
        _ rows: [Bytes: Bytes], into local: any Store, sharedBy instances: Int
    ) async throws(StoreError) {
        let now = now
        var records: [ConsumptionRecord] = []
        for bytes in rows.values {
            guard let record = ConsumptionRecord(decoding: bytes, by: now) else { throw Outbox.unreadable }
            records.append(record)
        }
        // Batches first, in their order: the newest consumption is what is held last.
        records.sort { ($0.batch?.number ?? .max) < ($1.batch?.number ?? .max) }
        for record in records {
            var entries: [Key: Entry] = [:]
            let began = min(now.uptime, record.batch?.made ?? now.uptime(at: record.moment))
            for var entry in record.charges {
                // In the local state it is from now on what this process's share makes of it.
                (entry.began, entry.instances) = (began, instances)
                let key = record.names.rateLimitKey(entry.charge.rule, entry.charge.subject)
                if entry.end > now.uptime {
                    entries[key] = entry
                    try? await recall(entry, record, in: local, sharedBy: instances, at: now.wall)
                } else if record.batch == nil {
                    state.withLock { _ = $0.stale.insert(.sum(record.names, key)) }
                }
            }
            state.withLock { $0.restore(record, entries, at: now.uptime) }
        }
    }

    private func recall(
        _ entry: Entry, _ record: ConsumptionRecord, in local: any Store, sharedBy instances: Int, at now: Timestamp
    ) async throws(StoreError) {
        var charge = entry.charge
        charge.cost = entry.amount
        let call = try RateLimitCall([charge], in: record.names)
        let procedure = try call.procedure(RateLimitProcedures.record, sharedBy: instances, now: min(record.moment, now))
        _ = try await local.run(procedure)
    }
}

extension LocalConsumption.State {
    func isOwing(_ operation: OperationID) -> Bool { batches.contains { $0.operation == operation && !$0.owed.isEmpty } }

    /// What these rows are now, and those that must not be written without them; they count as written from here on.
    mutating func picture(of rows: Set<LocalConsumption.Row>) -> LocalConsumption.Picture {
        var rows = rows
        for batch in batches where !batch.owed.isEmpty && (rows.contains(batch.row) || !batch.owed.isDisjoint(with: rows)) {
            rows.formUnion(batch.owed.union([batch.row]))
        }
        var picture = LocalConsumption.Picture()
        for row in rows {
            stale.remove(row)
            switch row {
            case .sum(let names, let key):
                guard let entry = pending[names]?[key] else {
                    picture.gone.append(row)
                    continue
                }
                picture.sums.append(.init(names: names, key: key, entry: entry))
                pending[names]?[key]?.isStale = false
                pending[names]?[key]?.isWritten = true
            case .batch(let operation):
                guard let place = batches.firstIndex(where: { $0.operation == operation }) else {
                    picture.gone.append(row)
                    continue
                }
                let keys = batches[place].entries.keys.map(\.self)
                picture.batches.append((batches[place], keys, amounts(behind: batches[place], of: keys)))
                batches[place].isWritten = true
            }
        }
        return picture
    }

    mutating func isWritten(_ picture: LocalConsumption.Picture) {
        for (batch, _, _) in picture.batches {
            guard let place = batches.firstIndex(where: { $0.operation == batch.operation }) else { continue }
            batches[place].owed = []
        }
    }

    /// - Parameter mayBe: whether the folder may have taken it all the same.
    mutating func isNotWritten(_ picture: LocalConsumption.Picture, mayBe: Bool) {
        stale.formUnion(picture.gone)
        for sum in picture.sums {
            guard var entry = pending[sum.names]?[sum.key] else {
                // It went on meanwhile; what it became owes the row.
                continue
            }
            if !mayBe { entry.isWritten = sum.entry.isWritten }
            note(&entry, sum.key, sum.names)
            pending[sum.names]?[sum.key] = entry
        }
        for (batch, _, _) in picture.batches {
            guard let place = batches.firstIndex(where: { $0.operation == batch.operation }) else { continue }
            if !mayBe { batches[place].isWritten = batch.isWritten }
            stale.insert(batch.row)
        }
    }

    mutating func restore(_ record: ConsumptionRecord, _ entries: [Key: LocalConsumption.Entry], at uptime: Duration) {
        guard let batch = record.batch else {
            for (key, entry) in entries {
                var entry = entry
                entry.isWritten = true
                add(entry, key, record.names, isDurable: false, at: uptime)
            }
            return
        }
        nextBatch = max(nextBatch, batch.number + 1)
        guard !entries.isEmpty else {
            stale.insert(.batch(batch.operation))
            return
        }
        batches.append(
            LocalConsumption.Batch(
                number: batch.number, operation: batch.operation, made: batch.made, names: record.names, entries: entries,
                isUnderWay: false, isTried: true, isWritten: true))
        self.entries += entries.count
    }
}
