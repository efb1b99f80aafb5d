/// What was found in a data folder at the start.
public struct JournalLoad: Sendable, Hashable {
    public var commands = 0
    public var bytes = 0
    /// What a crash had left behind the last whole command of the last file, and was cut off.
    public var cut: Cut?

    public struct Cut: Sendable, Hashable {
        public let file: String
        /// Where the file ends now.
        public let offset: Int
        public let bytes: Int
    }
}

/// Carries out the files of a journal, in order, on an empty key space.
///
/// The clock stands at zero meanwhile, so that nothing expires before all is there: an entry that has ended may still be renamed or
/// removed by a later command.
struct JournalLoader {
    private var keyspace: Keyspace
    private(set) var load = JournalLoad()
    private let folder: any DataFolder
    private var specs: [Bytes: CommandSpec] = [:]

    init(_ folder: any DataFolder, into keyspace: Keyspace) {
        self.folder = folder
        self.keyspace = keyspace
        self.keyspace.isLoading = true
    }

    /// The key space, which the loader has no more afterwards.
    consuming func takeKeyspace() -> Keyspace { keyspace }

    /// - Returns: the size of each file, after what was torn has been cut off.
    /// - Throws: ``ErrorCode/dataUnreadable`` naming file and offset; nothing has been changed on disk then.
    mutating func load(_ manifest: JournalManifest) throws(StoreError) -> [Int] {
        var sizes: [Int] = []
        for (place, file) in manifest.files.enumerated() {
            do {
                let isLast = try manifest.files[(place + 1)...].allSatisfy { try folder.open($0.name, .existing).size() == 0 }
                sizes.append(try load(file.name, mayBeTorn: isLast))
            } catch let error as DataFileError {
                throw StoreError(.dataUnreadable, "\(error)", field: "HOLDFAST_DATA")
            } catch let error as JournalReader.Malformed {
                throw Self.unreadable(
                    file.name, error.offset,
                    "no command stands there (\(error.reason)); redis-check-aof --fix cuts the file there")
            } catch {
                throw error as? StoreError ?? StoreError(.internalError)
            }
        }
        keyspace.isLoading = false
        return sizes
    }

    private mutating func load(_ name: String, mayBeTorn: Bool) throws -> Int {
        let file = try folder.open(name, .existing)
        var reader = JournalReader(file)
        if try reader.beginning(5).elementsEqual("REDIS".utf8) || name.hasSuffix(".rdb") {
            throw StoreError(
                .dataUnreadable,
                "\(name) begins with an RDB preamble, which is not read here: set `aof-use-rdb-preamble no` on the Redis that wrote "
                    + "it, run BGREWRITEAOF there and take the files again", field: "HOLDFAST_DATA")
        }
        /// The commands since MULTI, and where it stands; nil outside of one.
        var transaction: (offset: Int, commands: [(Operation, [Bytes], Int)])?
        while true {
            switch try reader.next() {
            case .command(let arguments, let offset):
                load.commands += 1
                switch Mark(arguments) {
                case .multi where transaction == nil: transaction = (offset, [])
                case .exec:
                    guard let queued = transaction?.commands else { throw Self.unreadable(name, offset, "EXEC without MULTI") }
                    transaction = nil
                    for (operation, arguments, offset) in queued { try apply(operation, arguments, name, offset) }
                case .multi: throw Self.unreadable(name, offset, "MULTI within MULTI")
                case .ignored: break
                case nil:
                    let operation = try operation(arguments, name, offset)
                    if transaction == nil {
                        try apply(operation, arguments, name, offset)
                    } else {
                        transaction?.commands.append((operation, arguments, offset))
                    }
                }
            case .end(let offset), .torn(let offset):
                let end = transaction?.offset ?? offset
                let size = try file.size()
                load.bytes += end
                guard size > end else { return size }
                guard mayBeTorn else {
                    throw Self.unreadable(name, end, "the file ends within a command, though files follow that are not empty")
                }
                try cut(file, name, at: end, size)
                return end
            }
        }
    }

    /// What a loader does itself rather than the key space.
    private enum Mark {
        case multi, exec, ignored

        init?(_ arguments: [Bytes]) {
            // The names of data commands of five or six letters come here too, and leave quickly.
            guard arguments.count <= 2, let name = arguments.first, let first = name.first else { return nil }
            switch first & ~0x20 {
            case UInt8(ascii: "M") where name.isWord("MULTI"): self = .multi
            case UInt8(ascii: "E") where name.isWord("EXEC"): self = .exec
            // There is one database here, which is Redis's first.
            case UInt8(ascii: "S") where name.isWord("SELECT") && arguments.last == "0": self = .ignored
            default: return nil
            }
        }
    }

    private mutating func operation(_ arguments: [Bytes], _ name: String, _ offset: Int) throws(StoreError) -> Operation {
        // Most commands of most journals; written out, they need no look-up.
        if arguments.count == 3, arguments[0] == "SET" {
            return .strings(.set(Key(raw: arguments[1]), arguments[2], SetOptions()))
        }
        do throws(ReplyError) {
            if let spec = specs[arguments[0]], spec.accepts(arguments.count) {
                var reader = ArgumentReader(arguments, command: spec.name)
                let operation = try spec.parse(&reader)
                guard reader.isAtEnd else { throw .syntax }
                return operation
            }
            if arguments.count <= 2, arguments[0].isWord("FLUSHALL") || arguments[0].isWord("FLUSHDB") {
                return .server(.flushdb)
            }
            let spec = try CommandTable.shared.spec(for: arguments)
            specs[arguments[0].compacted()] = spec
            return try CommandTable.shared.operation(arguments)
        } catch {
            throw Self.unreadable(name, offset, "\(arguments[0].shownName) is not understood (\(error.line))")
        }
    }

    private mutating func apply(_ operation: Operation, _ arguments: [Bytes], _ name: String, _ offset: Int) throws(StoreError) {
        guard case .error(let error) = keyspace.execute(operation) else { return }
        throw Self.unreadable(name, offset, "\(arguments[0].shownName) cannot be carried out (\(error.line))")
    }

    private mutating func cut(_ file: any DataFile, _ name: String, at end: Int, _ size: Int) throws(DataFileError) {
        try file.truncate(to: end)
        try file.sync()
        load.cut = JournalLoad.Cut(file: name, offset: end, bytes: size - end)
    }

    private static func unreadable(_ file: String, _ offset: Int, _ reason: String) -> StoreError {
        StoreError(.dataUnreadable, "\(file) at byte \(offset): \(reason)", field: "HOLDFAST_DATA")
    }
}

extension Bytes {
    fileprivate func isWord(_ word: StaticString) -> Bool {
        count == word.utf8CodeUnitCount && word.withUTF8Buffer { zip(self, $0).allSatisfy { $0 & ~0x20 == $1 } }
    }

    /// A command's name, which may be anything in a damaged file.
    fileprivate var shownName: String { String(lossyString.prefix(32).map { $0.isLetter || $0.isNumber ? $0 : "?" }) }
}
