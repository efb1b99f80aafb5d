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
    /// Tells states of one entry apart in this process; not kept.
    var revision: Int64 = 0

    init(_ number: Int64, _ item: Outbox.Item, accepted: Timestamp) {
        self.number = number
        action = item.action
        subject = item.subject
        name = item.name
        keys = item.keys
        arguments = item.arguments
        self.accepted = accepted
    }

    /// The same with other keys.
    public func mappingKeys(_ transform: (Key) -> Key) -> OutboxEntry {
        let item = Outbox.Item(action, keys: keys.map(transform), arguments: arguments, about: subject, named: name)
        return OutboxEntry(number, item, accepted: accepted)
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

// A ``ByteList``, whose first string is the form's number.

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
