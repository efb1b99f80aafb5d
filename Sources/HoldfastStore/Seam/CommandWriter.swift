/// Writes commands in RESP (`*3\r\n$3\r\nSET\r\n…`) straight into one buffer.
public struct CommandWriter: Sendable {
    /// What has been written.
    public internal(set) var buffer: [UInt8]
    /// The number of arguments of the command being written, name included.
    private var argumentCount = 0

    public init(reserving capacity: Int = 0) {
        buffer = []
        buffer.reserveCapacity(capacity)
    }

    /// Goes on behind whole commands that were written before.
    public init(written buffer: [UInt8]) { self.buffer = buffer }

    /// Empties the buffer and keeps its memory.
    public mutating func removeAll() { buffer.removeAll(keepingCapacity: true) }

    /// Hands out what has been written and begins anew.
    public mutating func take() -> [UInt8] {
        defer { buffer = [] }
        return buffer
    }

    /// The same in place of what the caller has done with, whose memory is used for what comes.
    public mutating func exchange(_ bytes: inout [UInt8]) {
        bytes.removeAll(keepingCapacity: true)
        swap(&buffer, &bytes)
    }

    mutating func command(_ operation: some OperationFamily) {
        // The count stands before the arguments and is known after them. Three bytes (`*n\r\n` with one digit) are right for
        // nearly all; a longer count moves the tail once.
        let start = buffer.count
        buffer.append(contentsOf: [UInt8(ascii: "*"), UInt8(ascii: "0"), 13, 10])
        argumentCount = 0
        word(operation.name)
        operation.writeArguments(to: &self)
        if argumentCount < 10 {
            buffer[start + 1] = UInt8(ascii: "0") + UInt8(argumentCount)
        } else {
            buffer.replaceSubrange((start + 1)..<(start + 2), with: String(argumentCount).utf8)
        }
    }

    /// A whole command from its parts.
    public mutating func command(_ arguments: [Bytes]) {
        header(UInt8(ascii: "*"), arguments.count)
        for argument in arguments { append(argument) }
    }

    public mutating func append(_ bytes: Bytes) {
        header(UInt8(ascii: "$"), bytes.count)
        buffer.append(contentsOf: bytes.storage)
        endLine()
    }

    public mutating func append(_ key: Key) { append(key.bytes) }

    /// A word of the protocol, such as an option's name.
    public mutating func word(_ word: StaticString) {
        header(UInt8(ascii: "$"), word.utf8CodeUnitCount)
        word.withUTF8Buffer { buffer.append(contentsOf: $0) }
        endLine()
    }

    public mutating func append(_ integer: Int64) {
        header(UInt8(ascii: "$"), Self.digitCount(integer))
        buffer.append(decimal: integer)
        endLine()
    }

    public mutating func append(_ count: Int) { append(Int64(count)) }

    /// The shortest text that reads back as the same number.
    public mutating func append(_ double: Double) { append(Bytes(double.description)) }

    public mutating func append(_ list: [Bytes]) {
        for bytes in list { append(bytes) }
    }

    public mutating func append(_ keys: [Key]) {
        for key in keys { append(key.bytes) }
    }

    /// The written command taken apart again. For one command only.
    func writtenArguments() -> [Bytes] {
        var arguments: [Bytes] = []
        var position = buffer.firstIndex(of: 10).map { $0 + 1 } ?? buffer.count
        while position < buffer.count {
            guard let lineEnd = buffer[position...].firstIndex(of: 13) else { break }
            let length = buffer[(position + 1)..<lineEnd].reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
            arguments.append(Bytes(Array(buffer[(lineEnd + 2)..<(lineEnd + 2 + length)])))
            position = lineEnd + 2 + length + 2
        }
        return arguments
    }

    // MARK: - Parts

    private mutating func header(_ mark: UInt8, _ count: Int) {
        if mark == UInt8(ascii: "$") { argumentCount += 1 }
        buffer.append(mark)
        buffer.append(decimal: Int64(count))
        endLine()
    }

    private mutating func endLine() {
        buffer.append(13)
        buffer.append(10)
    }

    private static func digitCount(_ integer: Int64) -> Int {
        var count = integer < 0 ? 2 : 1
        var rest = integer.magnitude
        while rest >= 10 {
            rest /= 10
            count += 1
        }
        return count
    }
}
