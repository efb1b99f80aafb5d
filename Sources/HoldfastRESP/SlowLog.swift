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

    /// `slowlog-log-slower-than` and `slowlog-max-len`, Redis's defaults.
    static let threshold: Duration = .milliseconds(10)
    static let limit = 128
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
        if entries.count > Self.limit { entries.removeLast() }
    }

    mutating func removeAll() { entries.removeAll() }

    private static func shown(_ argument: Bytes) -> Bytes {
        guard argument.count > shownBytes else { return argument.compacted() }
        let note = "... (\(argument.count - shownBytes) more bytes)"
        return Bytes(Array(argument.prefix(shownBytes)) + Array(note.utf8))
    }
}
