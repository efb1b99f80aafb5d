/// Byte strings in one run of bytes: each behind its length in four bytes.
package enum ByteList {
    package static func encode(_ list: [Bytes]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(list.reduce(0) { $0 + $1.count + 4 })
        for one in list {
            let count = UInt32(one.count)
            for shift in stride(from: 24, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: count >> UInt32(shift))) }
            bytes.append(contentsOf: one)
        }
        return bytes
    }

    /// The strings, which share the memory of the bytes; nil where the bytes are no such list.
    package static func decode(_ bytes: Bytes) -> [Bytes]? {
        var rest = bytes
        var list: [Bytes] = []
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let count = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            guard rest.count >= count else { return nil }
            list.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return list
    }
}
