/// A collection that an entry can hold. It knows its way into ``Value`` and out of it.
protocol CollectionValue: Sendable {
    static var type: EntryType { get }
    init()
    /// The collection in a value; nil where the value is of another type.
    init?(_ value: consuming Value)
    var wrapped: Value { get }
    var isEmpty: Bool { get }
    /// What it costs in memory; see ``MemoryCost``.
    var cost: Int { get }
}

extension Keyspace {
    /// The collection at a key, for a command that reads; nil where there is no such key.
    mutating func collection<C: CollectionValue>(_ type: C.Type, at key: Key) throws(ReplyError) -> C? {
        guard let slot = slot(reading: key) else { return nil }
        return try collection(type, in: slot)
    }

    /// The same for a command that looks before it writes.
    ///
    /// Let go of it before the collection is changed, or the change copies it.
    mutating func collection<C: CollectionValue>(_ type: C.Type, changing key: Key) throws(ReplyError) -> C? {
        guard let slot = slot(of: key) else { return nil }
        return try collection(type, in: slot)
    }

    private mutating func collection<C: CollectionValue>(_ type: C.Type, in slot: Int) throws(ReplyError) -> C {
        guard let collection = entries.look(at: slot, { C($0.value) }) else { throw .wrongType }
        return collection
    }

    /// Changes the collection at a key in place, which comes into being where there is none. Does not emit.
    ///
    /// - Parameters:
    ///   - changed: whether the body's answer says that there was a change: without one the revision stays.
    ///   - body: what changes it. It throws before it changes anything or not at all.
    mutating func change<C: CollectionValue, R>(
        _ type: C.Type, at key: Key, changed: (R) -> Bool = { _ in true }, _ body: (inout C) throws(ReplyError) -> R
    ) throws(ReplyError) -> R {
        if let slot = slot(of: key) { return try change(type, in: slot, of: key, changed: changed, body) }
        var collection = C()
        let result = try body(&collection)
        if !collection.isEmpty { put(collection.wrapped, at: key, expiry: nil) }
        return result
    }

    /// Changes the collection at a key in place; nil where there is no such key. Does not emit.
    mutating func changeExisting<C: CollectionValue, R>(
        _ type: C.Type, at key: Key, changed: (R) -> Bool = { _ in true }, _ body: (inout C) throws(ReplyError) -> R
    ) throws(ReplyError) -> R? {
        guard let slot = slot(of: key) else { return nil }
        return try change(type, in: slot, of: key, changed: changed, body)
    }

    private mutating func change<C: CollectionValue, R>(
        _ type: C.Type, in slot: Int, of key: Key, changed: (R) -> Bool, _ body: (inout C) throws(ReplyError) -> R
    ) throws(ReplyError) -> R {
        guard self.type(at: slot) == C.type else { throw .wrongType }
        preserve(slot)
        // The entry gives up its value while the body has the collection, so that nothing is copied, and no reference counted.
        guard var collection = C(entries.look(at: slot) { $0.value.take() }) else { throw .wrongType }
        do {
            let result = try body(&collection)
            putBack(collection, in: slot, of: key, changed: changed(result))
            return result
        } catch {
            putBack(collection, in: slot, of: key, changed: false)
            throw error
        }
    }

    private mutating func putBack(_ collection: some CollectionValue, in slot: Int, of key: Key, changed: Bool) {
        entries[slot].value = collection.wrapped
        guard changed else { return }
        if collection.isEmpty { removeEntry(key) } else { account(at: slot, key) }
    }

    /// Replaces whatever is at a key by a collection without expiry, or removes it where the collection is empty: what the commands
    /// that store their result do.
    ///
    /// - Parameters:
    ///   - elements: what is in the collection.
    ///   - command: what adds some of them.
    mutating func store<Element>(
        _ collection: some CollectionValue, at key: Key, _ elements: @autoclosure () -> [Element],
        _ command: ([Element]) -> Operation
    ) throws(ReplyError) {
        if !collection.isEmpty { try makeRoom(for: MemoryCost.parts(key, of: [], each: 0) + collection.cost) }
        delete(key)
        guard !collection.isEmpty else { return }
        put(collection.wrapped, at: key, expiry: nil)
        emit(elements(), as: command)
    }
}

extension Keyspace {
    /// One page of a collection's elements: `[cursor, [element, …]]`.
    mutating func scan<C: CollectionValue, Element>(
        _ type: C.Type, at key: Key, _ cursor: UInt64, _ options: ScanOptions, in table: (C) -> SlotTable<Bytes, Element>,
        _ shown: (Bytes, Element) -> [Reply]
    ) throws(ReplyError) -> Reply {
        guard let collection = try collection(type, at: key) else { return .array([.bytes("0"), .array([])]) }
        let glob = Glob(scan: options.match)
        var found: [Reply] = []
        let next = table(collection).scan(from: cursor, count: options.count ?? 10) { name, element in
            if let glob, !glob.matches(name) { return }
            found.append(contentsOf: shown(name, element))
        }
        return .array([.bytes(Bytes(next.description)), .array(found)])
    }
}
