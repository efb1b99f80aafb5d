import Foundation
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

@testable import HoldfastRedis

/// Streams of replies made at random, damaged at random, and cut at random, for a bounded time (`HOLDFAST_FUZZ_SECONDS`, 3 unless told).
///
/// What must hold: an undamaged stream reads back as what was written; a stream gives the same items and the same error however it is
/// cut; nothing traps; and no claimed length is believed before its bytes are there. Each run begins at another seed; a failure names its
/// own, and `HOLDFAST_FUZZ_SEED` begins there.
@Suite struct RESPFuzzTests {
    private struct Outcome: Equatable {
        var items: [RESPItem] = []
        var error: StoreError?
    }

    private static let seconds = ProcessInfo.processInfo.environment["HOLDFAST_FUZZ_SECONDS"].flatMap(Double.init) ?? 3

    @Test func streamsReadTheSameHoweverTheyAreCutAndWhateverIsWrongWithThem() {
        // A trap leaves no other trace of where it happened.
        print("RESP fuzzing from HOLDFAST_FUZZ_SEED=\(FuzzSeed.first), \(Self.seconds) s")
        let end = ContinuousClock.now + .seconds(Self.seconds)
        var seed = FuzzSeed.first
        // At least so many, also on a machine where they take longer.
        while ContinuousClock.now < end || seed &- FuzzSeed.first < 200 {
            var source = RESPSource(seed: seed)
            let (stream, expected) = source.stream()
            let whole = Self.parse([stream[...]])
            #expect(whole == Outcome(items: expected), "HOLDFAST_FUZZ_SEED=\(seed)")
            let damaged = source.damage(stream)
            let reference = Self.parse([damaged[...]])
            #expect(Self.parse(source.pieces(damaged)) == reference, "HOLDFAST_FUZZ_SEED=\(seed), cut")
            #expect(Self.parse(damaged.indices.map { damaged[$0...$0] }) == reference, "HOLDFAST_FUZZ_SEED=\(seed), byte by byte")
            guard whole == Outcome(items: expected) else { return }
            seed &+= 1
        }
        print("RESP fuzzing: \(seed &- FuzzSeed.first) streams")
    }

    private static func parse(_ pieces: [ArraySlice<UInt8>]) -> Outcome {
        var parser = RESPParser(limits: .init(bulkLength: 1 << 20, elements: 1 << 16, depth: 16, lineLength: 1 << 10))
        var outcome = Outcome()
        for piece in pieces {
            piece.withUnsafeBytes { parser.feed($0) }
            do throws(StoreError) {
                while let item = try parser.next() { outcome.items.append(item) }
            } catch {
                outcome.error = error
                return outcome
            }
        }
        return outcome
    }
}

/// Makes RESP3 at random.
private struct RESPSource {
    private var generator: RandomSource

    init(seed: UInt64) { generator = RandomSource(seed: seed) }

    mutating func stream() -> ([UInt8], [RESPItem]) {
        var (bytes, items): ([UInt8], [RESPItem]) = ([], [])
        for _ in 0..<pick(1...6) {
            if pick(0...5) == 0 {
                var parts: [Reply] = []
                let count = pick(1...3)
                bytes += Array(">\(count)\r\n".utf8)
                for _ in 0..<count { parts.append(reply(&bytes, depth: 1)) }
                items.append(.push(parts))
            } else {
                items.append(.reply(reply(&bytes, depth: 0)))
            }
        }
        return (bytes, items)
    }

    /// Appends one reply and answers what it reads as.
    private mutating func reply(_ bytes: inout [UInt8], depth: Int) -> Reply {
        if pick(0...9) == 0 {
            // An attribute counts as nothing.
            bytes += Array("|1\r\n+a\r\n:1\r\n".utf8)
        }
        switch pick(0...(depth < 5 ? 11 : 8)) {
        case 0:
            bytes += Array("_\r\n".utf8)
            return .null
        case 1:
            let number = Int64.random(in: .min ... .max, using: &generator) >> Int64(pick(0...63))
            bytes += Array(":\(number)\r\n".utf8)
            return .integer(number)
        case 2:
            bytes += Array("+OK\r\n".utf8)
            return .ok
        case 3:
            let line = "ERR no \(pick(0...9))"
            bytes += Array("-\(line)\r\n".utf8)
            return .error(ReplyError(line))
        case 4:
            let flag = pick(0...1) == 1
            bytes += Array("#\(flag ? "t" : "f")\r\n".utf8)
            return .boolean(flag)
        case 5:
            let value = Double(pick(-1000...1000)) / 8
            bytes += Array(",\(value)\r\n".utf8)
            return .double(value)
        case 6, 7, 8:
            let content = (0..<pick(0...pick(0...80))).map { _ in UInt8(pick(0...255)) }
            bytes += Array("$\(content.count)\r\n".utf8) + content + [13, 10]
            return .bytes(Bytes(content))
        case 9: return .array(elements("*", 1, &bytes, depth))
        case 10: return .set(elements("~", 1, &bytes, depth))
        default: return .map(elements("%", 2, &bytes, depth))
        }
    }

    private mutating func elements(_ mark: String, _ width: Int, _ bytes: inout [UInt8], _ depth: Int) -> [Reply] {
        let count = pick(0...4)
        bytes += Array("\(mark)\(count)\r\n".utf8)
        var elements: [Reply] = []
        for _ in 0..<(count * width) { elements.append(reply(&bytes, depth: depth + 1)) }
        return elements
    }

    mutating func damage(_ stream: [UInt8]) -> [UInt8] {
        generator.damage(
            stream, marks: "0123456789+-$*%~>|!=(,#_:\r\n", lengths: "$99999999999999999999\r\n*2147483647\r\n%-7\r\n")
    }

    mutating func pieces(_ stream: [UInt8]) -> [ArraySlice<UInt8>] { generator.pieces(of: stream) }

    private mutating func pick(_ range: ClosedRange<Int>) -> Int { generator.pick(range) }
}
