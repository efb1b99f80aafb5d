// The meaning of the set commands. Typed functions first, for procedures; the replies to commands last.

/// The members of a set.
struct SetValue: CollectionValue {
    static var type: EntryType { .set }

    private(set) var members = SlotTable<Bytes, Void>()
    private(set) var cost = MemoryCost.collection

    init() {}
    init(_ members: some Sequence<Bytes>) {
        for member in members { add(member) }
    }
    init?(_ value: consuming Value) {
        guard case .set(let set) = consume value else { return nil }
        self = set
    }

    var wrapped: Value { .set(self) }
    var isEmpty: Bool { members.isEmpty }
    var count: Int { members.count }

    func contains(_ member: Bytes) -> Bool { members.slot(of: member) != nil }

    /// Adds a member; false where it is one already.
    @discardableResult
    mutating func add(_ member: Bytes) -> Bool {
        guard !contains(member) else { return false }
        members.insert((), for: member.compacted())
        cost += MemoryCost.slot + MemoryCost.bytes(member.count)
        return true
    }

    @discardableResult
    mutating func remove(_ member: Bytes) -> Bool {
        guard members.remove(member) != nil else { return false }
        cost -= MemoryCost.slot + MemoryCost.bytes(member.count)
        return true
    }
}

extension Keyspace {
    /// All members, in no order.
    public mutating func smembers(_ key: Key) throws(ReplyError) -> [Bytes] {
        try collection(SetValue.self, at: key)?.members.map(\.key) ?? []
    }

    public mutating func sismember(_ key: Key, _ member: Bytes) throws(ReplyError) -> Bool {
        try collection(SetValue.self, at: key)?.contains(member) ?? false
    }

    public mutating func scard(_ key: Key) throws(ReplyError) -> Int { try collection(SetValue.self, at: key)?.count ?? 0 }

    /// Adds members and answers how many of them are new.
    @discardableResult
    public mutating func sadd(_ key: Key, _ members: [Bytes]) throws(ReplyError) -> Int {
        let added = try change(SetValue.self, at: key, changed: { !$0.isEmpty }) { set in
            members.filter { set.add($0) }
        }
        emit(added) { .sets(.sadd(key, $0)) }
        return added.count
    }

    /// Removes members and answers how many there were; a set without members is removed.
    @discardableResult
    public mutating func srem(_ key: Key, _ members: [Bytes]) throws(ReplyError) -> Int {
        let removed = try changeExisting(SetValue.self, at: key, changed: { !$0.isEmpty }) { set in
            members.filter { set.remove($0) }
        }
        guard let removed, !removed.isEmpty else { return 0 }
        emit(removed) { .sets(.srem(key, $0)) }
        return removed.count
    }

    /// Moves a member from one set to another; false where the source does not have it.
    @discardableResult
    public mutating func smove(_ source: Key, _ destination: Key, _ member: Bytes) throws(ReplyError) -> Bool {
        guard let isMember = try collection(SetValue.self, changing: source)?.contains(member) else { return false }
        _ = try collection(SetValue.self, changing: destination)
        guard isMember, source != destination else { return isMember }
        try srem(source, [member])
        let isNew = try change(SetValue.self, at: destination, changed: { $0 }) { $0.add(member) }
        if isNew { emit(.sets(.sadd(destination, [member]))) }
        return true
    }

    // MARK: - Commands

    mutating func sets(_ operation: SetOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .sadd(let key, let members): return Reply(try sadd(key, members))
        case .srem(let key, let members): return Reply(try srem(key, members))
        case .smembers(let key): return .set(try smembers(key).map(Reply.bytes))
        case .sismember(let key, let member): return Reply(try sismember(key, member))
        case .smismember(let key, let members):
            let set = try collection(SetValue.self, at: key)
            return .array(members.map { Reply(set?.contains($0) ?? false) })
        case .scard(let key): return Reply(try scard(key))
        case .spop(let key, let count): return try pop(key, count)
        case .srandmember(let key, let count):
            let set = try collection(SetValue.self, at: key)
            guard let count else { return Reply(set?.members.draw(1, using: &random).first?.key) }
            return Reply(try draw(count, from: set?.members) { $0.key.count }.map(\.key))
        case .smove(let source, let destination, let member): return Reply(try smove(source, destination, member))
        case .sunion(let keys): return .set(try union(keys).members.map { .bytes($0.key) })
        case .sinter(let keys): return .set(try intersection(keys).members.map { .bytes($0.key) })
        case .sdiff(let keys): return .set(try difference(keys).members.map { .bytes($0.key) })
        case .sunionstore(let destination, let keys): return try store(destination) { k throws(ReplyError) in try k.union(keys) }
        case .sinterstore(let destination, let keys):
            return try store(destination) { k throws(ReplyError) in try k.intersection(keys) }
        case .sdiffstore(let destination, let keys):
            return try store(destination) { k throws(ReplyError) in try k.difference(keys) }
        case .sintercard(let keys, let limit):
            guard limit >= 0 else { throw .negativeLimit }
            let count = try intersection(keys, limit: limit == 0 ? .max : Int(clamping: limit)).count
            return Reply(count)
        case .sscan(let key, let cursor, let options):
            return try scan(SetValue.self, at: key, cursor, options, in: \.members) { member, _ in [.bytes(member)] }
        }
    }

    private mutating func pop(_ key: Key, _ count: Int64?) throws(ReplyError) -> Reply {
        if let count, count < 0 { throw .notPositive }
        let drawn = try collection(SetValue.self, changing: key)?.members.draw(count ?? 1, using: &random).map(\.key) ?? []
        try srem(key, drawn)
        return count == nil ? Reply(drawn.first) : .set(drawn.map(Reply.bytes))
    }

    private mutating func store(
        _ destination: Key, _ result: (inout Keyspace) throws(ReplyError) -> SetValue
    ) throws(ReplyError) -> Reply {
        let set = try result(&self)
        try store(set, at: destination, set.members.map(\.key)) { .sets(.sadd(destination, $0)) }
        return Reply(set.count)
    }

    private mutating func union(_ keys: [Key]) throws(ReplyError) -> SetValue {
        var result = SetValue()
        for key in keys {
            for member in try smembers(key) { result.add(member) }
        }
        return result
    }

    private mutating func difference(_ keys: [Key]) throws(ReplyError) -> SetValue {
        guard let first = keys.first else { return SetValue() }
        var result = try collection(SetValue.self, at: first) ?? SetValue()
        for key in keys.dropFirst() {
            for member in try smembers(key) { result.remove(member) }
        }
        return result
    }

    private mutating func intersection(_ keys: [Key], limit: Int = .max) throws(ReplyError) -> SetValue {
        var sets: [SetValue] = []
        for key in keys { sets.append(try collection(SetValue.self, at: key) ?? SetValue()) }
        // The smallest first: each member of it is looked for in the others.
        sets.sort { $0.count < $1.count }
        guard let smallest = sets.first else { return SetValue() }
        var result = SetValue()
        for member in smallest.members where sets.dropFirst().allSatisfy({ $0.contains(member.key) }) {
            result.add(member.key)
            if result.count == limit { break }
        }
        return result
    }
}
