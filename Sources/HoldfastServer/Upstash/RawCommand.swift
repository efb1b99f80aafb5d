import HoldfastStore

/// What has to be known of a command before it may be passed on for somebody else: which arguments are keys, and whether it only
/// reads. A command that has no row here is refused.
struct RawCommand: Sendable {
    enum Keys: Sendable, Hashable {
        case none
        /// From `first` to `last` (negative: from the end), every `step`.
        case range(first: Int, last: Int, step: Int)
        /// A count stands there and that many keys behind it.
        case counted(at: Int)
        /// A destination at 1, then a count at 2 and that many keys behind it.
        case destinationAndCounted
        /// The first half of what stands behind the word STREAMS.
        case behindStreams
    }

    /// In capitals.
    let name: String
    let keys: Keys
    let isReading: Bool

    /// Whether a command changes nothing, scripts and listings included.
    static func reads(_ arguments: [Bytes]) -> Bool {
        guard let name = arguments.first else { return true }
        if let row = named(name) { return row.isReading }
        let word = name.lossyString.uppercased()
        return word.hasSuffix("_RO") || ["SCAN", "KEYS", "DBSIZE", "RANDOMKEY", "INFO"].contains(word)
    }

    /// Whether a negative count asks it for that many draws, in which an element can come again and again.
    var isDrawing: Bool { Self.drawing.contains(name) }
    private static let drawing: Set<String> = ["SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"]

    /// How many such draws a command asks for. The embedded store makes `Keyspace.maximumDraws` at most; a Redis makes as many as it is
    /// asked for, and serves nobody meanwhile.
    func draws(_ arguments: [Bytes]) -> UInt64 {
        guard isDrawing, arguments.count > 2, let count = arguments[2].integer, count < 0 else { return 0 }
        return count.magnitude
    }

    /// The row of a command, whatever the case of its name.
    static func named(_ name: Bytes) -> RawCommand? {
        byName[String(decoding: name.prefix(64), as: UTF8.self).uppercased()]
    }

    static let all: [RawCommand] =
        CommandTable.shared.commands.compactMap(RawCommand.init).filter { row in !onlyOnServers.contains { $0.name == row.name } }
        + onlyOnServers

    private static let byName = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }

    /// Nil for those that act on the whole key space.
    private init?(_ spec: CommandSpec) {
        guard !spec.flags.contains(.administrative) else { return nil }
        let keys: Keys =
            switch spec.keys {
            case .none: .none
            case .range(let first, let last, let step): .range(first: first, last: last, step: step)
            case .counted(let position): .counted(at: position)
            case .destinationAndCounted: .destinationAndCounted
            }
        self.init(spec.name, keys, reads: spec.flags.contains(.readOnly))
    }

    private init(_ name: String, _ keys: Keys, reads: Bool = false) {
        self.name = name
        self.keys = keys
        isReading = reads
    }

    // MARK: - Commands of a Redis that this process need not understand

    private static let onlyOnServers: [RawCommand] =
        rows(of: "BITCOUNT BITPOS GETBIT SUBSTR BITFIELD_RO", .first, reads: true)
        + rows(of: "SETBIT BITFIELD", .first)
        + [RawCommand("BITOP", .range(first: 2, last: -1, step: 1)), RawCommand("LCS", .firstTwo, reads: true)]
        + rows(of: "HTTL HPTTL HEXPIRETIME HPEXPIRETIME", .first, reads: true)
        + rows(of: "HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST HGETDEL HGETEX HSETEX", .first)
        + rows(of: "PFCOUNT", .all, reads: true) + rows(of: "PFADD", .first) + rows(of: "PFMERGE", .all)
        + rows(of: "GEODIST GEOHASH GEOPOS GEOSEARCH GEORADIUS_RO GEORADIUSBYMEMBER_RO", .first, reads: true)
        + rows(of: "GEOADD", .first) + rows(of: "GEOSEARCHSTORE", .firstTwo)
        + rows(of: "XLEN XRANGE XREVRANGE XPENDING", .first, reads: true)
        + rows(of: "XADD XDEL XTRIM XACK XCLAIM XAUTOCLAIM XSETID XDELEX XACKDEL", .first)
        + rows(of: "XINFO", .second, reads: true) + rows(of: "XGROUP", .second)
        + [RawCommand("XREAD", .behindStreams, reads: true), RawCommand("XREADGROUP", .behindStreams)]
        + rows(of: "OBJECT", .second, reads: true)
        + rows(
            of: "JSON.GET JSON.TYPE JSON.STRLEN JSON.ARRLEN JSON.ARRINDEX JSON.OBJKEYS JSON.OBJLEN JSON.RESP", .first, reads: true
        )
        + rows(
            of: """
                JSON.SET JSON.DEL JSON.FORGET JSON.CLEAR JSON.MERGE JSON.NUMINCRBY JSON.NUMMULTBY JSON.STRAPPEND JSON.ARRAPPEND \
                JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.TOGGLE
                """, .first)
        + [
            RawCommand("JSON.MGET", .range(first: 1, last: -2, step: 1), reads: true),
            RawCommand("JSON.MSET", .range(first: 1, last: -1, step: 3)),
        ]

    private static func rows(of names: String, _ keys: Keys, reads: Bool = false) -> [RawCommand] {
        names.split(separator: " ").map { RawCommand(String($0), keys, reads: reads) }
    }
}

extension RawCommand.Keys {
    static let first = Self.range(first: 1, last: 1, step: 1)
    static let firstTwo = Self.range(first: 1, last: 2, step: 1)
    static let second = Self.range(first: 2, last: 2, step: 1)
    static let all = Self.range(first: 1, last: -1, step: 1)

    /// Where the keys stand among the arguments, name first.
    func positions(in arguments: [Bytes]) -> [Int] {
        switch self {
        case .none: []
        case .range(let first, let last, let step):
            Array(stride(from: first, through: last < 0 ? arguments.count + last : min(last, arguments.count - 1), by: step))
        case .counted(let position): Self.counted(at: position, in: arguments)
        case .destinationAndCounted: (arguments.count > 1 ? [1] : []) + Self.counted(at: 2, in: arguments)
        case .behindStreams: Self.streams(in: arguments)
        }
    }

    private static func counted(at position: Int, in arguments: [Bytes]) -> [Int] {
        guard arguments.indices.contains(position), let count = arguments[position].integer, count > 0 else { return [] }
        return Array((position + 1)..<(position + 1 + Int(min(count, Int64(arguments.count - position - 1)))))
    }

    private static func streams(in arguments: [Bytes]) -> [Int] {
        guard let word = StreamReadOptions(arguments).streams else { return [] }
        return Array((word + 1)..<(word + 1 + (arguments.count - word - 1) / 2))
    }
}
