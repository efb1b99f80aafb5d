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
        guard let ends = bytes.withUnsafeBytes(ends) else { return nil }
        var list: [Bytes] = []
        list.reserveCapacity(ends.count)
        var place = bytes.startIndex
        for end in ends {
            let end = bytes.startIndex + end
            list.append(bytes[(place + 4)..<end])
            place = end
        }
        return list
    }

    /// Where each string ends.
    private static func ends(_ bytes: UnsafeRawBufferPointer) -> [Int]? {
        var ends: [Int] = []
        ends.reserveCapacity(32)
        var place = 0
        while place < bytes.count {
            guard bytes.count - place >= 4 else { return nil }
            place += 4 + Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
            guard place <= bytes.count else { return nil }
            ends.append(place)
        }
        return ends
    }
}
