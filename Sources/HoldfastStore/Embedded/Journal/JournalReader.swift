/// Reads the commands of one journal file, one after the other.
///
/// Arguments are slices of what was read; what keeps them for long compacts them, as the key space does. Memory is bounded by the
/// longest command and by the file: no claimed length is believed before its bytes are there.
struct JournalReader {
    enum Item {
        case command([Bytes], offset: Int)
        /// The file ends here, after a whole command.
        case end(offset: Int)
        /// The file ends within the command that begins here: what a crash leaves behind.
        case torn(offset: Int)
    }

    /// What stands at the offset is no command.
    struct Malformed: Error {
        let offset: Int
        /// Where the first byte stands that does not fit.
        let fault: Int
        let reason: String
    }

    /// Of a count or a length: more than any file holds. What Redis takes from a client is bounded, what its own loader takes is not.
    private static let largestNumber = 1 << 48
    private static let readSize = 1 << 20

    private let file: any DataFile
    private var chunk: [UInt8] = []
    private var position = 0
    /// Where in the file the chunk begins.
    private var chunkStart = 0
    private var ranges: [Range<Int>] = []

    init(_ file: any DataFile) { self.file = file }

    /// The first bytes of the file, fewer where it has fewer.
    mutating func beginning(_ count: Int) throws(DataFileError) -> ArraySlice<UInt8> {
        if chunk.count < count { _ = try readMore() }
        return chunk.prefix(count)
    }

    mutating func next() throws -> Item {
        while true {
            switch try parseOrTorn() {
            case .torn: return .torn(offset: chunkStart + position)
            case .complete(let end):
                let offset = chunkStart + position
                let arguments = ranges.map { Bytes(chunk[$0]) }
                position = end
                return .command(arguments, offset: offset)
            // Lines that tell the time, which Redis writes when asked to.
            case .comment(let end): position = end
            case .incomplete:
                let offset = chunkStart + position
                if try readMore() { continue }
                if position == chunk.count { return .end(offset: offset) }
                return .torn(offset: offset)
            }
        }
    }

    private enum Parsed {
        case complete(end: Int)
        case comment(end: Int)
        case incomplete
        case torn
    }

    /// After a power failure some file systems leave zeros where the last writes should be: that too is a torn end, where nothing
    /// but zeros follows.
    private mutating func parseOrTorn() throws -> Parsed {
        do {
            return try parse()
        } catch let error as Malformed {
            guard try isZero(from: error.fault) else { throw error }
            return .torn
        }
    }

    private func isZero(from start: Int) throws(DataFileError) -> Bool {
        var offset = start
        var buffer = [UInt8](repeating: 1, count: 64 << 10)
        while true {
            let count = try file.read(into: &buffer, at: offset)
            if count == 0 { return offset > start }
            guard buffer[..<count].allSatisfy({ $0 == 0 }) else { return false }
            offset += count
        }
    }

    private mutating func parse() throws -> Parsed {
        ranges.removeAll(keepingCapacity: true)
        let (start, base) = (position, chunkStart)
        return try chunk.withUnsafeBufferPointer { [count = chunk.count] bytes throws -> Parsed in
            var cursor = start
            guard cursor < count else { return .incomplete }
            if bytes[cursor] == UInt8(ascii: "#") {
                while cursor < count, bytes[cursor] != 10 { cursor += 1 }
                return cursor < count ? .comment(end: cursor + 1) : .incomplete
            }
            func malformed(_ reason: String) -> Malformed {
                Malformed(offset: base + start, fault: base + cursor, reason: reason)
            }
            /// Reads `<mark><digits>\r\n`; nil where the chunk ends before.
            func number(after mark: UInt8) throws -> Int? {
                guard cursor < count else { return nil }
                guard bytes[cursor] == mark else { throw malformed("expected '\(Character(UnicodeScalar(mark)))'") }
                cursor += 1
                var value = 0
                let first = cursor
                while cursor < count {
                    let digit = bytes[cursor] &- UInt8(ascii: "0")
                    guard digit <= 9 else { break }
                    value = value * 10 + Int(digit)
                    guard value <= Self.largestNumber else { throw malformed("a length of more than any file's") }
                    cursor += 1
                }
                guard cursor < count else { return nil }
                guard bytes[cursor] == 13, cursor > first else { throw malformed("a length that is no number") }
                cursor += 1
                guard cursor < count else { return nil }
                guard bytes[cursor] == 10 else { throw malformed("a line without its end") }
                cursor += 1
                return value
            }
            guard let arguments = try number(after: UInt8(ascii: "*")) else { return .incomplete }
            guard arguments > 0 else { throw malformed("a command without a name") }
            for _ in 0..<arguments {
                guard let length = try number(after: UInt8(ascii: "$")) else { return .incomplete }
                guard count - cursor >= length + 2 else { return .incomplete }
                ranges.append(cursor..<(cursor + length))
                cursor += length
                for end: UInt8 in [13, 10] {
                    guard bytes[cursor] == end else { throw malformed("an argument that is longer or shorter than it says") }
                    cursor += 1
                }
            }
            return .complete(end: cursor)
        }
    }

    /// Keeps what is not used up and reads on; false at the end of the file.
    private mutating func readMore() throws(DataFileError) -> Bool {
        let rest = chunk.count - position
        // A command that is longer than what was read before is read in steps that double.
        let wanted = max(Self.readSize, rest)
        let offset = chunkStart + chunk.count
        var failure: DataFileError?
        let (old, from, file) = (chunk, position, file)
        let longer = [UInt8](unsafeUninitializedCapacity: rest + wanted) { buffer, count in
            _ = UnsafeMutableBufferPointer(rebasing: buffer[..<rest]).update(fromContentsOf: old[from...])
            count = rest
            do throws(DataFileError) {
                count += try file.read(
                    into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[rest...]), at: offset)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        let isMore = longer.count > rest
        chunkStart += position
        position = 0
        chunk = longer
        return isMore
    }
}
