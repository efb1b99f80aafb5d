import HoldfastStore

/// In which of a cluster's slots a key lies: CRC16 of the key, or of what stands between its first `{` and the next `}`, where that is
/// anything. As in the cluster specification (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
enum ClusterSlot {
    static let count = 16_384

    static func of(_ key: Bytes) -> Int {
        key.withUnsafeBytes { bytes in
            var tag = bytes[...]
            if let open = bytes.firstIndex(of: UInt8(ascii: "{")) {
                let rest = bytes[(open + 1)...]
                if let close = rest.firstIndex(of: UInt8(ascii: "}")), close > open + 1 { tag = rest[..<close] }
            }
            return Int(crc16(tag)) % count
        }
    }

    static func of(_ key: Key) -> Int { of(key.bytes) }

    /// CRC-16/XMODEM: polynomial 0x1021, nothing reflected.
    private static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
        var crc: UInt16 = 0
        for byte in bytes { crc = crc << 8 ^ table[Int(crc >> 8) ^ Int(byte)] }
        return crc
    }

    private static let table: [UInt16] = (0..<256).map { (index: UInt16) in
        (0..<8).reduce(index << 8) { crc, _ in crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021 }
    }
}
