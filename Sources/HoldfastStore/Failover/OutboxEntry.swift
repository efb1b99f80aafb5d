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
    /// By the wall clock of the process that accepted it.
    public let accepted: Timestamp
    /// When it was accepted by the clock that nobody sets. Not kept: of an entry of an earlier process the wall clock tells it once, at the start.
    let acceptedUptime: Duration
    /// How the clocks stood when its arguments were written. Not kept.
    private let written: Moment
    /// Of two states of one name the one that is not lower stays (``Outbox/Item/rank``).
    let rank: [Int64]
    /// The epoch that its name is about, where it is about one (``Outbox/Item/epoch``).
    let epoch: Int?
    /// Tells states of one entry apart in this process; not kept.
    var revision: Int64 = 0

    /// - Parameter first: the entry whose place it takes: it has waited since that was accepted.
    init(_ number: Int64, _ item: Outbox.Item, at moment: Moment, inPlaceOf first: OutboxEntry? = nil) {
        self.number = number
        accepted = first?.accepted ?? moment.wall
        acceptedUptime = first?.acceptedUptime ?? moment.uptime
        written = moment
        action = item.action
        subject = item.subject
        name = item.name
        keys = item.keys
        arguments = item.arguments
        rank = item.rank
        epoch = item.epoch
    }

    /// The same with other keys.
    public func mappingKeys(_ transform: (Key) -> Key) -> OutboxEntry {
        let item = Outbox.Item(
            action, keys: keys.map(transform), arguments: arguments, about: subject, named: name, rank: rank, epoch: epoch)
        return OutboxEntry(number, item, at: written, inPlaceOf: self)
    }

    /// For how long it has waited, however the wall clock was set since.
    public func age(by time: any TimeSource) -> Duration { time.uptime - acceptedUptime }

    /// The present by the wall clock as it was when the arguments were written, had nobody set it since: what moments in them are compared with.
    public func now(by time: any TimeSource) -> Timestamp { written.wall(at: time.uptime) }

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

// A ``ByteList``, whose first string is the form's number. Form 1 had neither rank nor epoch; it is read, and not written any more.

extension OutboxEntry {
    var encoded: Bytes { Bytes(ByteList.encode(fields)) }

    fileprivate var fields: [Bytes] {
        let head = [
            "2", Bytes(number), Bytes(action), subject, name ?? Bytes(), Bytes(accepted.milliseconds), Bytes(Int64(keys.count)),
            Bytes(ByteList.encode(rank.map { Bytes($0) })), epoch.map { Bytes(Int64($0)) } ?? Bytes(),
        ]
        return head + keys.map(\.bytes) + arguments
    }

    /// Nil where the bytes are none, or were written by a later version.
    ///
    /// - Parameter moment: the present, which the wall clock tells the entry's age at.
    init?(decoding bytes: Bytes, at moment: Moment) {
        guard let fields = ByteList.decode(bytes) else { return nil }
        self.init(fields: fields, at: moment)
    }

    fileprivate init?(fields: [Bytes], at moment: Moment) {
        guard let head = fields.first.flatMap({ Self.heads[$0] }), fields.count >= head, let number = fields[1].integer,
            Self.counts.contains(number), let action = fields[2].string, let accepted = fields[5].integer,
            let keys = fields[6].integer, (0...Int64(fields.count - head)).contains(keys)
        else { return nil }
        if head == 7 {
            (rank, epoch) = ([], Self.epoch(ofName: fields[4], action))
        } else {
            guard let words = ByteList.decode(fields[7]), case let rank = words.compactMap(\.integer), rank.count == words.count,
                case let epoch = fields[8].integer, fields[8].isEmpty || epoch.map(Self.counts.contains) == true
            else { return nil }
            (self.rank, self.epoch) = (rank, epoch.map(Int.init))
        }
        self.number = number
        self.action = action
        subject = fields[3]
        name = fields[4].isEmpty ? nil : fields[4]
        self.accepted = Timestamp(milliseconds: accepted)
        acceptedUptime = moment.uptime(at: self.accepted)
        written = moment
        self.keys = fields[head..<(head + Int(keys))].map(Key.init(raw:))
        arguments = Array(fields[(head + Int(keys))...])
    }

    /// How many strings come before the keys in each form.
    private static let heads: [Bytes: Int] = ["1": 7, "2": 9]

    /// What counts on from what is read: so far that no process comes to its end.
    private static let counts: ClosedRange<Int64> = 0...(1 << 53)

    /// In form 1 the names of sessions' entries told it. Other actions' names hold what users chose, and may look like one.
    private static func epoch(ofName name: Bytes, _ action: String) -> Int? {
        let parts = name.lossyString.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard ["session.merge@1", "session.delete@1"].contains(action), parts.count == 3, parts[0] == "session.merge",
            let epoch = Int64(parts[1]), counts.contains(epoch)
        else { return nil }
        return Int(epoch)
    }
}

extension DeadLetter {
    var encoded: Bytes { Bytes(ByteList.encode([Bytes(code), Bytes(reason), Bytes(died.milliseconds)] + entry.fields)) }

    init?(decoding bytes: Bytes, at moment: Moment) {
        guard let fields = ByteList.decode(bytes), fields.count > 3, let died = fields[2].integer,
            let entry = OutboxEntry(fields: Array(fields[3...]), at: moment)
        else { return nil }
        self.entry = entry
        code = fields[0].lossyString
        reason = fields[1].lossyString
        self.died = Timestamp(milliseconds: died)
    }
}
