import HoldfastStore
import Testing

@Suite struct EnvelopeTests {
    let full = Envelope(
        codec: .json, typeName: "Array<User>", stamp: 1_700_000_000_123, expiry: Timestamp(milliseconds: 1_700_000_360_000),
        grace: .seconds(90), tags: ["users", "größe"], isNil: false, plainSize: 70_000, keyID: "k2", payload: "[1,2]")

    @Test func whatWasWrittenIsReadBack() throws {
        let bytes = try full.encoded()
        #expect(try Envelope(decoding: bytes) == full)
        let header = bytes[bytes.startIndex..<bytes.startIndex + 24]
        #expect(Envelope.grace(inHeader: header) == .seconds(90) && Envelope.stamp(inHeader: header) == full.stamp)
        let small = Envelope(codec: .bytes, isNil: true, payload: Bytes())
        #expect(try Envelope(decoding: try small.encoded()) == small)
    }

    @Test func aNewerVersionOrFlagIsUnsupported() throws {
        for (offset, value) in [(1, UInt8(2)), (2, 0x80)] {
            var bytes = Array(try full.encoded())
            bytes[offset] = value
            let error = #expect(throws: StoreError.self) { try Envelope(decoding: Bytes(bytes)) }
            #expect(error?.code == .unsupportedFormat)
        }
    }

    @Test func aHeaderThatIsCutOffIsNoEnvelope() throws {
        let bytes = try full.encoded()
        let header = bytes.count - full.payload.count
        for length in 0..<header {
            let error = #expect(throws: StoreError.self) { try Envelope(decoding: bytes[0..<length]) }
            #expect(error?.code == .decodingFailed)
        }
    }

    /// Lengths of up to 2^63 behind a good beginning, and plain noise: an error or an envelope, never a trap.
    @Test func hostileBytesNeverTrap() throws {
        var random = RandomSource(seed: 7)
        var noise = (0..<20_000).map { _ in Bytes((0..<Int.random(in: 0...60, using: &random)).map { _ in random.byte() }) }
        let good = Array(try full.encoded())
        for offset in good.indices {
            for value in [0, 1, 0x7F, 0x80, 0xFF] as [UInt8] {
                var bytes = good
                bytes[offset] = value
                noise.append(Bytes(bytes))
                noise.append(Bytes(bytes[..<offset] + [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF]))
            }
        }
        for bytes in noise { _ = try? Envelope(decoding: bytes) }
        for bytes in noise { _ = (Envelope.grace(inHeader: bytes), Envelope.stamp(inHeader: bytes)) }
    }

    @Test func whatDoesNotFitIsNamed() {
        let cases: [(Envelope, String)] = [
            (Envelope(codec: .json, tags: Array(repeating: "t", count: 65), payload: ""), "tags"),
            (Envelope(codec: .json, tags: [String(repeating: "t", count: 256)], payload: ""), "tags"),
            (Envelope(codec: .json, typeName: String(repeating: "t", count: 256), payload: ""), "typeName"),
        ]
        for (envelope, field) in cases {
            let error = #expect(throws: StoreError.self) { try envelope.encoded() }
            #expect(error?.code == .tooLarge && error?.field == field)
        }
    }
}

extension RandomSource {
    fileprivate mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }
}
