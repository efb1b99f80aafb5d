/// Something that was decided in this process and must still be done on the server.
public struct OutboxEntry: Sendable, Hashable {
    /// Its number: entries of one outbox are numbered in the order in which they were accepted.
    public let number: Int64
    /// The ``ReplayAction`` that carries it out: a name and a version, such as `session.merge@1`.
    public let action: String
    /// What it is about. Entries about one subject are carried out in their order, those of different ones side by side.
    public let subject: Bytes
    /// Under which a later entry takes its place, while it still waits; nil for one that stands for itself.
    public let name: Bytes?
    public let keys: [Key]
    public let arguments: [Bytes]
    public let accepted: Timestamp

    init(_ number: Int64, _ item: Outbox.Item, accepted: Timestamp) {
        self.number = number
        action = item.action
        subject = item.subject
        name = item.name
        keys = item.keys
        arguments = item.arguments
        self.accepted = accepted
    }

    /// About what it takes in memory and in the outbox's journal.
    var size: Int {
        keys.reduce(0) { $0 + $1.bytes.count } + arguments.reduce(0) { $0 + $1.count } + subject.count + (name?.count ?? 0) + 200
    }
}

/// An entry that the server answered with an error, or that nobody can carry out any more: kept until somebody decides about it.
public struct DeadLetter: Sendable, Hashable {
    public let entry: OutboxEntry
    /// The error's code, such as `wrong-type`.
    public let code: String
    /// One line for people; holds no values.
    public let reason: String
    public let died: Timestamp
}

// MARK: - As they are kept

// A list of byte strings, each behind its length as four bytes. The first is the form's number.

extension OutboxEntry {
    var encoded: Bytes { Bytes(ByteList.encode(fields)) }

    fileprivate var fields: [Bytes] {
        let head = [
            "1", Bytes(number), Bytes(action), subject, name ?? Bytes(), Bytes(accepted.milliseconds), Bytes(Int64(keys.count)),
        ]
        return head + keys.map(\.bytes) + arguments
    }

    /// Nil where the bytes are none, or were written by a later version.
    init?(decoding bytes: Bytes) {
        guard let fields = ByteList.decode(bytes) else { return nil }
        self.init(fields: fields)
    }

    fileprivate init?(fields: [Bytes]) {
        guard fields.count >= 7, fields[0] == "1", let number = fields[1].integer, let action = fields[2].string,
            let accepted = fields[5].integer, let keys = fields[6].integer, (0...Int64(fields.count - 7)).contains(keys)
        else { return nil }
        self.number = number
        self.action = action
        subject = fields[3]
        name = fields[4].isEmpty ? nil : fields[4]
        self.accepted = Timestamp(milliseconds: accepted)
        self.keys = fields[7..<(7 + Int(keys))].map(Key.init(raw:))
        arguments = Array(fields[(7 + Int(keys))...])
    }
}

extension DeadLetter {
    var encoded: Bytes { Bytes(ByteList.encode([Bytes(code), Bytes(reason), Bytes(died.milliseconds)] + entry.fields)) }

    init?(decoding bytes: Bytes) {
        guard let fields = ByteList.decode(bytes), fields.count > 3, let died = fields[2].integer,
            let entry = OutboxEntry(fields: Array(fields[3...]))
        else { return nil }
        self.entry = entry
        code = fields[0].lossyString
        reason = fields[1].lossyString
        self.died = Timestamp(milliseconds: died)
    }
}

private enum ByteList {
    static func encode(_ list: [Bytes]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(list.reduce(0) { $0 + $1.count + 4 })
        for one in list {
            let count = UInt32(one.count)
            for shift in stride(from: 24, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: count >> UInt32(shift))) }
            bytes.append(contentsOf: one)
        }
        return bytes
    }

    static func decode(_ bytes: Bytes) -> [Bytes]? {
        var rest = bytes
        var list: [Bytes] = []
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let count = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            guard rest.count >= count else { return nil }
            list.append(rest.prefix(count).compacted())
            rest = rest.dropFirst(count)
        }
        return list
    }
}
