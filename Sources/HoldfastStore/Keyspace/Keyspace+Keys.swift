// The meaning of the commands for entries of every type. Typed functions first, for procedures; the replies to commands last.

extension Keyspace {
    public mutating func exists(_ key: Key) -> Bool { slot(reading: key) != nil }

    /// Removes an entry; false where there is none.
    @discardableResult
    public mutating func delete(_ key: Key) -> Bool {
        guard slot(of: key) != nil else { return false }
        removeEntry(key)
        emit(.keys(.del([key])))
        return true
    }

    /// The entry's type, or nil where there is no such key.
    public mutating func type(of key: Key) -> EntryType? { slot(reading: key).map { entries[$0].value.type } }

    /// When the entry ends: nil where there is no such key, `.some(nil)` for never.
    public mutating func expiry(of key: Key) -> Timestamp?? { slot(reading: key).map { entries[$0].expiry } }

    /// Lets an entry end at a moment; false where there is no such key. A moment that has passed removes it.
    @discardableResult
    public mutating func expire(_ key: Key, at moment: Timestamp) -> Bool {
        guard let slot = slot(of: key) else { return false }
        if moment <= now { return delete(key) }
        setExpiry(moment, at: slot)
        emit(.keys(.pexpireat(key, moment, nil)))
        return true
    }

    /// Lets an entry stay for ever; false where there is no such key or it had no expiry.
    @discardableResult
    public mutating func persist(_ key: Key) -> Bool {
        guard let slot = slot(of: key), entries[slot].expiry != nil else { return false }
        setExpiry(nil, at: slot)
        emit(.keys(.persist(key)))
        return true
    }

    // MARK: - Commands

    mutating func keys(_ operation: KeyOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .del(let keys), .unlink(let keys): return count(keys) { $0.delete($1) }
        case .exists(let keys), .touch(let keys): return count(keys) { $0.exists($1) }
        case .type(let key): return .status(Bytes(type(of: key)?.rawValue ?? "none"))
        case .pexpire(let key, let milliseconds, let condition):
            let (moment, overflow) = now.milliseconds.addingReportingOverflow(milliseconds)
            guard !overflow else { throw ReplyError("ERR invalid expire time in 'pexpire' command") }
            return Reply(expire(key, at: Timestamp(milliseconds: moment), if: condition))
        case .pexpireat(let key, let moment, let condition): return Reply(expire(key, at: moment, if: condition))
        case .pttl(let key): return timeLeft(key) { $0.milliseconds - $1.milliseconds }
        case .ttl(let key): return timeLeft(key) { ($0.milliseconds - $1.milliseconds + 500) / 1000 }
        case .pexpiretime(let key): return timeLeft(key) { moment, _ in moment.milliseconds }
        case .expiretime(let key): return timeLeft(key) { moment, _ in (moment.milliseconds + 500) / 1000 }
        case .persist(let key): return Reply(persist(key))
        case .rename(let old, let new):
            try rename(old, new)
            return .ok
        case .renamenx(let old, let new):
            guard slot(of: old) != nil else { throw .noSuchKey }
            guard slot(of: new) == nil else { return .integer(0) }
            try rename(old, new)
            return .integer(1)
        case .copy(let source, let destination, let replace): return try copy(source, destination, replace: replace)
        case .randomkey: return Reply(randomKey()?.bytes)
        case .scan(let cursor, let options): return scan(cursor, options)
        }
    }

    private mutating func count(_ keys: [Key], _ counts: (inout Keyspace, Key) -> Bool) -> Reply {
        Reply(keys.reduce(into: 0) { total, key in if counts(&self, key) { total += 1 } })
    }

    private mutating func expire(_ key: Key, at moment: Timestamp, if condition: ExpireCondition?) -> Bool {
        guard let current = slot(of: key).map({ entries[$0].expiry }) else { return false }
        let holds =
            switch condition {
            case nil: true
            case .ifNone: current == nil
            case .ifAny: current != nil
            // No expiry is the latest moment of all.
            case .ifLater: current.map { moment > $0 } ?? false
            case .ifEarlier: current.map { moment < $0 } ?? true
            case .ifAnyAndEarlier: current.map { moment < $0 } ?? false
            }
        return holds && expire(key, at: moment)
    }

    private mutating func timeLeft(_ key: Key, _ answer: (_ moment: Timestamp, _ now: Timestamp) -> Int64) -> Reply {
        switch expiry(of: key) {
        case nil: .integer(-2)
        case .some(nil): .integer(-1)
        case .some(let moment?): .integer(answer(moment, now))
        }
    }

    private mutating func rename(_ old: Key, _ new: Key) throws(ReplyError) {
        guard slot(of: old) != nil, let entry = entries.value(for: old) else { throw .noSuchKey }
        guard old != new else { return }
        removeEntry(old)
        removeEntry(new)
        put(entry.value, at: new, expiry: entry.expiry)
        emit(.keys(.rename(old, new)))
    }

    private mutating func copy(_ source: Key, _ destination: Key, replace: Bool) throws(ReplyError) -> Reply {
        guard source != destination else { throw ReplyError("ERR source and destination objects are the same") }
        guard let slot = slot(reading: source), replace || self.slot(of: destination) == nil else { return .integer(0) }
        try makeRoom(for: entries[slot].cost + MemoryCost.bytes(destination.bytes.count))
        // The source itself may have had to go.
        guard let entry = entries.value(for: source) else { return .integer(0) }
        put(entry.value, at: destination, expiry: entry.expiry)
        emit(.keys(.copy(source, destination, replace: true)))
        return .integer(1)
    }

    private mutating func randomKey() -> Key? {
        removeExpired(limit: .max)
        return entries.randomSlot(using: &random).flatMap { entries.key(at: $0) }
    }

    private mutating func scan(_ cursor: UInt64, _ options: ScanOptions) -> Reply {
        let glob = Glob(scan: options.match)
        let type = options.type?.lossyString.lowercased()
        var found: [Reply] = []
        let next = entries.scan(from: cursor, count: options.count ?? 10) { key, entry in
            if let expiry = entry.expiry, expiry <= now { return }
            if let glob, !glob.matches(key.bytes) { return }
            if let type, entry.value.type.rawValue != type { return }
            found.append(.bytes(key.bytes))
        }
        return .array([.bytes(Bytes(next.description)), .array(found)])
    }
}
