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
        var list: [Bytes] = []
        var place = bytes.startIndex
        while place < bytes.endIndex {
            guard bytes.endIndex - place >= 4 else { return nil }
            var count = 0
            for byte in place..<(place + 4) { count = count << 8 | Int(bytes[byte]) }
            place += 4
            guard bytes.endIndex - place >= count else { return nil }
            list.append(bytes[place..<(place + count)])
            place += count
        }
        return list
    }
}
