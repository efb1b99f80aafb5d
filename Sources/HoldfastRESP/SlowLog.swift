import HoldfastStore

/// The slowest commands of late: SLOWLOG.
struct SlowLog {
    struct Entry {
        let id: Int
        let moment: Timestamp
        let duration: Duration
        let arguments: [Bytes]
        let address: String
        let name: Bytes
    }

    /// `slowlog-log-slower-than`, in microseconds; negative for none. Redis's default.
    var threshold: Int64 = 10_000
    /// `slowlog-max-len`: Redis's default, and the most that it may be set to.
    var limit = 128 {
        didSet { entries.removeLast(max(0, entries.count - limit)) }
    }
    static let highestLimit = 10_000
    private static let shownArguments = 32
    private static let shownBytes = 128

    /// The latest first.
    private(set) var entries: [Entry] = []
    private var nextID = 0

    mutating func add(_ arguments: [Bytes], _ duration: Duration, at moment: Timestamp, by client: Client) {
        var shown = arguments.prefix(Self.shownArguments).map(Self.shown)
        if arguments.count > Self.shownArguments {
            shown[Self.shownArguments - 1] = Bytes("... (\(arguments.count - Self.shownArguments + 1) more arguments)")
        }
        entries.insert(
            Entry(
                id: nextID, moment: moment, duration: duration, arguments: shown, address: client.address, name: client.name),
            at: 0)
        nextID += 1
        if entries.count > limit { entries.removeLast() }
    }

    mutating func removeAll() { entries.removeAll() }

    private static func shown(_ argument: Bytes) -> Bytes {
        guard argument.count > shownBytes else { return argument.compacted() }
        let note = "... (\(argument.count - shownBytes) more bytes)"
        return Bytes(Array(argument.prefix(shownBytes)) + Array(note.utf8))
    }
}
