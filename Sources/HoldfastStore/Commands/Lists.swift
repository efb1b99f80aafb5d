/// Sequences that are pushed and popped at both ends. What they mean stands in `Keyspace/Keyspace+Lists.swift`.
public enum ListOperation: Hashable, Sendable {
    case lpush(Key, [Bytes])
    case rpush(Key, [Bytes])
    case lpushx(Key, [Bytes])
    case rpushx(Key, [Bytes])
    /// Without a count: one element. With one: a list of them.
    case lpop(Key, count: Int64?)
    case rpop(Key, count: Int64?)
    case llen(Key)
    case lrange(Key, Int64, Int64)
    case lindex(Key, Int64)
    case lset(Key, Int64, Bytes)
    case linsert(Key, ListPlace, pivot: Bytes, Bytes)
    case lrem(Key, Int64, Bytes)
    case ltrim(Key, Int64, Int64)
    case lmove(Key, Key, from: ListEnd, to: ListEnd)
    case lpos(Key, Bytes, ListSearch)
    case lmpop([Key], ListEnd, count: Int64?)
}

/// One of a list's ends.
public enum ListEnd: Hashable, Sendable, CaseIterable {
    case left, right

    var word: StaticString {
        switch self {
        case .left: "LEFT"
        case .right: "RIGHT"
        }
    }

    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> ListEnd {
        if reader.skip("LEFT") { return .left }
        guard reader.skip("RIGHT") else { throw .syntax }
        return .right
    }
}

/// Where LINSERT puts the new element.
public enum ListPlace: Hashable, Sendable, CaseIterable {
    case before, after
}

/// LPOS's options.
public struct ListSearch: Hashable, Sendable {
    /// Begin with the match of this number: 1 is the first, -1 the last, and so on.
    public var rank: Int64
    /// How many matches to answer, 0 for all; nil for one, not as a list.
    public var count: Int64?
    /// How many elements to compare at most; 0 for all.
    public var maximumComparisons: Int64

    public init(rank: Int64 = 1, count: Int64? = nil, maximumComparisons: Int64 = 0) {
        self.rank = rank
        self.count = count
        self.maximumComparisons = maximumComparisons
    }
}

// MARK: - On the wire

extension ListOperation: OperationFamily {
    var name: StaticString {
        switch self {
        case .lpush: "LPUSH"
        case .rpush: "RPUSH"
        case .lpushx: "LPUSHX"
        case .rpushx: "RPUSHX"
        case .lpop: "LPOP"
        case .rpop: "RPOP"
        case .llen: "LLEN"
        case .lrange: "LRANGE"
        case .lindex: "LINDEX"
        case .lset: "LSET"
        case .linsert: "LINSERT"
        case .lrem: "LREM"
        case .ltrim: "LTRIM"
        case .lmove: "LMOVE"
        case .lpos: "LPOS"
        case .lmpop: "LMPOP"
        }
    }

    func writeArguments(to writer: inout CommandWriter) {
        switch self {
        case .lpush(let key, let elements), .rpush(let key, let elements), .lpushx(let key, let elements),
            .rpushx(let key, let elements):
            writer.append(key)
            writer.append(elements)
        case .lpop(let key, let count), .rpop(let key, let count):
            writer.append(key)
            if let count { writer.append(count) }
        case .llen(let key):
            writer.append(key)
        case .lrange(let key, let start, let end), .ltrim(let key, let start, let end):
            writer.append(key)
            writer.append(start)
            writer.append(end)
        case .lindex(let key, let index):
            writer.append(key)
            writer.append(index)
        case .lset(let key, let index, let element), .lrem(let key, let index, let element):
            writer.append(key)
            writer.append(index)
            writer.append(element)
        case .linsert(let key, let place, let pivot, let element):
            writer.append(key)
            writer.word(place == .before ? "BEFORE" : "AFTER")
            writer.append(pivot)
            writer.append(element)
        case .lmove(let source, let destination, let from, let to):
            writer.append(source)
            writer.append(destination)
            writer.word(from.word)
            writer.word(to.word)
        case .lpos(let key, let element, let search):
            writer.append(key)
            writer.append(element)
            search.write(to: &writer)
        case .lmpop(let keys, let end, let count):
            writer.append(keys.count)
            writer.append(keys)
            writer.word(end.word)
            writer.appendCount(count)
        }
    }

    static let table: [CommandSpec] = [
        CommandSpec("LPUSH", arity: -3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .lists(.lpush(try r.key(), try r.rest()))
        },
        CommandSpec("RPUSH", arity: -3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .lists(.rpush(try r.key(), try r.rest()))
        },
        CommandSpec("LPUSHX", arity: -3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .lists(.lpushx(try r.key(), try r.rest()))
        },
        CommandSpec("RPUSHX", arity: -3, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .lists(.rpushx(try r.key(), try r.rest()))
        },
        CommandSpec("LPOP", arity: -2, [.write], keys: .first) { r throws(ReplyError) in
            .lists(.lpop(try r.key(), count: try r.popCount()))
        },
        CommandSpec("RPOP", arity: -2, [.write], keys: .first) { r throws(ReplyError) in
            .lists(.rpop(try r.key(), count: try r.popCount()))
        },
        CommandSpec("LLEN", arity: 2, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .lists(.llen(try r.key()))
        },
        CommandSpec("LRANGE", arity: 4, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .lists(.lrange(try r.key(), try r.integer(), try r.integer()))
        },
        CommandSpec("LINDEX", arity: 3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .lists(.lindex(try r.key(), try r.integer()))
        },
        CommandSpec("LSET", arity: 4, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            .lists(.lset(try r.key(), try r.integer(), try r.bytes()))
        },
        CommandSpec("LINSERT", arity: 5, [.write, .denyOOM], keys: .first) { r throws(ReplyError) in
            let key = try r.key()
            let before = r.skip("BEFORE")
            guard before || r.skip("AFTER") else { throw .syntax }
            return .lists(.linsert(key, before ? .before : .after, pivot: try r.bytes(), try r.bytes()))
        },
        CommandSpec("LREM", arity: 4, [.write], keys: .first) { r throws(ReplyError) in
            .lists(.lrem(try r.key(), try r.integer(), try r.bytes()))
        },
        CommandSpec("LTRIM", arity: 4, [.write], keys: .first) { r throws(ReplyError) in
            .lists(.ltrim(try r.key(), try r.integer(), try r.integer()))
        },
        CommandSpec("LMOVE", arity: 5, [.write, .denyOOM], keys: .firstTwo) { r throws(ReplyError) in
            .lists(.lmove(try r.key(), try r.key(), from: try ListEnd.parse(&r), to: try ListEnd.parse(&r)))
        },
        CommandSpec("RPOPLPUSH", arity: 3, [.write, .denyOOM], keys: .firstTwo) { r throws(ReplyError) in
            .lists(.lmove(try r.key(), try r.key(), from: .right, to: .left))
        },
        CommandSpec("LPOS", arity: -3, [.readOnly, .idempotent], keys: .first) { r throws(ReplyError) in
            .lists(.lpos(try r.key(), try r.bytes(), try ListSearch.parse(&r)))
        },
        CommandSpec("LMPOP", arity: -4, [.write], keys: .counted(at: 1)) { r throws(ReplyError) in
            .lists(.lmpop(try r.poppedKeys(), try ListEnd.parse(&r), count: try r.optionalCount()))
        },
    ]
}

extension ListSearch {
    func write(to writer: inout CommandWriter) {
        if rank != 1 {
            writer.word("RANK")
            writer.append(rank)
        }
        writer.appendCount(count)
        if maximumComparisons != 0 {
            writer.word("MAXLEN")
            writer.append(maximumComparisons)
        }
    }

    static func parse(_ reader: inout ArgumentReader) throws(ReplyError) -> ListSearch {
        var search = ListSearch()
        while !reader.isAtEnd {
            guard reader.remaining > 1 else { throw .syntax }
            if reader.skip("RANK") {
                search.rank = try reader.integer()
                guard search.rank != 0 else { throw zeroRank }
            } else if reader.skip("COUNT") {
                let count = try reader.integer(orElse: ReplyError("ERR COUNT can't be negative"))
                guard count >= 0 else { throw ReplyError("ERR COUNT can't be negative") }
                search.count = count
            } else if reader.skip("MAXLEN") {
                search.maximumComparisons = try reader.integer(orElse: ReplyError("ERR MAXLEN can't be negative"))
                guard search.maximumComparisons >= 0 else { throw ReplyError("ERR MAXLEN can't be negative") }
            } else {
                throw .syntax
            }
        }
        return search
    }

    static let zeroRank = ReplyError(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end "
            + "of the list")
}

extension CommandWriter {
    /// `COUNT n`, where there is a count.
    mutating func appendCount(_ count: Int64?) {
        guard let count else { return }
        word("COUNT")
        append(count)
    }
}

extension ArgumentReader {
    /// The count of a pop, where there is one.
    mutating func popCount() throws(ReplyError) -> Int64? {
        guard !isAtEnd else { return nil }
        guard remaining == 1 else { throw .wrongArity(command) }
        let count = try integer(orElse: .notPositive)
        guard count >= 0 else { throw .notPositive }
        return count
    }

    /// `COUNT n` with n > 0, where it stands next.
    mutating func optionalCount() throws(ReplyError) -> Int64? {
        guard skip("COUNT") else { return nil }
        let error = ReplyError("ERR count should be greater than 0")
        guard !isAtEnd else { throw .syntax }
        let count = try integer(orElse: error)
        guard count > 0 else { throw error }
        return count
    }
}

extension ReplyError {
    static let notPositive = ReplyError("ERR value is out of range, must be positive")
}

// MARK: - As users call them

extension Command where Output == Int {
    /// Puts elements at the list's head, one after the other (the last one becomes the first), and answers the new length.
    public static func lpush(_ key: Key, _ elements: [Bytes]) -> Self { Command(count: .lists(.lpush(key, elements))) }
    public static func lpush(_ key: Key, _ element: Bytes) -> Self { lpush(key, [element]) }
    /// Puts elements at the list's tail and answers the new length.
    public static func rpush(_ key: Key, _ elements: [Bytes]) -> Self { Command(count: .lists(.rpush(key, elements))) }
    public static func rpush(_ key: Key, _ element: Bytes) -> Self { rpush(key, [element]) }
    /// As `lpush`, where the list exists; 0 where it does not.
    public static func lpushx(_ key: Key, _ elements: [Bytes]) -> Self { Command(count: .lists(.lpushx(key, elements))) }
    /// As `rpush`, where the list exists; 0 where it does not.
    public static func rpushx(_ key: Key, _ elements: [Bytes]) -> Self { Command(count: .lists(.rpushx(key, elements))) }
    /// The list's length; 0 where there is no such key.
    public static func llen(_ key: Key) -> Self { Command(count: .lists(.llen(key))) }
    /// Inserts beside the first element that equals `pivot`. Answers the new length, 0 where there is no such key and -1 where
    /// there is no such element. Linear.
    public static func linsert(_ key: Key, _ place: ListPlace, pivot: Bytes, _ element: Bytes) -> Self {
        Command(count: .lists(.linsert(key, place, pivot: pivot, element)))
    }
    /// Removes up to `count` elements that equal this one, from the head, or, negative, from the tail; 0 for all. Linear.
    public static func lrem(_ key: Key, _ count: Int, _ element: Bytes) -> Self {
        Command(count: .lists(.lrem(key, Int64(count), element)))
    }
}

extension Command where Output == Bytes? {
    /// Takes the first element; nil where there is no such key.
    public static func lpop(_ key: Key) -> Self { Command(optional: .lists(.lpop(key, count: nil))) }
    /// Takes the last element; nil where there is no such key.
    public static func rpop(_ key: Key) -> Self { Command(optional: .lists(.rpop(key, count: nil))) }
    /// The element at an index, negative from the end; nil where there is none.
    public static func lindex(_ key: Key, _ index: Int) -> Self { Command(optional: .lists(.lindex(key, Int64(index)))) }
    /// Takes an element from one end and puts it at an end of another list (or the same); nil where the source does not exist.
    public static func lmove(_ source: Key, _ destination: Key, from: ListEnd, to: ListEnd) -> Self {
        Command(optional: .lists(.lmove(source, destination, from: from, to: to)))
    }
}

extension Command where Output == [Bytes] {
    /// Takes up to `count` elements from the head.
    public static func lpop(_ key: Key, count: Int) -> Self { Command(list: .lists(.lpop(key, count: Int64(count)))) }
    /// Takes up to `count` elements from the tail, the last one first.
    public static func rpop(_ key: Key, count: Int) -> Self { Command(list: .lists(.rpop(key, count: Int64(count)))) }
    /// The elements from index `start` to `end`, both included; negative from the end.
    public static func lrange(_ key: Key, _ start: Int, _ end: Int) -> Self {
        Command(list: .lists(.lrange(key, Int64(start), Int64(end))))
    }
}

extension Command where Output == Void {
    /// Replaces the element at an index. An error where there is none.
    public static func lset(_ key: Key, _ index: Int, _ element: Bytes) -> Self {
        Command(done: .lists(.lset(key, Int64(index), element)))
    }
    /// Keeps the elements from index `start` to `end`, both included, and removes the others.
    public static func ltrim(_ key: Key, _ start: Int, _ end: Int) -> Self {
        Command(done: .lists(.ltrim(key, Int64(start), Int64(end))))
    }
}

extension Command where Output == Int? {
    /// The index of an element; nil where the list has none that equals it. Linear.
    public static func lpos(_ key: Key, _ element: Bytes, rank: Int = 1) -> Self {
        Command(.lists(.lpos(key, element, ListSearch(rank: Int64(rank))))) { reply in
            reply.isNull ? .some(nil) : reply.integer.map { Int($0) }
        }
    }
}

/// What LMPOP took, and from which list.
public struct PoppedElements: Hashable, Sendable {
    public let key: Key
    public let elements: [Bytes]
}

extension Command where Output == PoppedElements? {
    /// Takes up to `count` elements from the first of the lists that is not empty; nil where all are.
    public static func lmpop(_ keys: [Key], _ end: ListEnd, count: Int = 1) -> Self {
        Command(.lists(.lmpop(keys, end, count: Int64(count)))) { reply in
            if reply.isNull { return .some(nil) }
            guard let parts = reply.elements, parts.count == 2, let key = parts[0].bytes, let elements = parts[1].list else {
                return nil
            }
            return PoppedElements(key: Key(raw: key), elements: elements)
        }
    }
}
