import Foundation
import HoldfastStore
import HoldfastTesting
import NIOCore
import TestServers
import Testing

@testable import HoldfastRESP

/// Streams of requests made at random, damaged at random, and cut at random, for a bounded time (`HOLDFAST_FUZZ_SECONDS`, 3 unless told).
///
/// What must hold: an undamaged stream reads back as what was written; a stream gives the same requests and the same refusal however it is
/// cut, and where requests are put back; nothing traps; and no claimed length is believed before its bytes are there. Each run begins at
/// another seed; a failure names its own, and `HOLDFAST_FUZZ_SEED` begins there.
@Suite struct RequestFuzzTests {
    private struct Outcome: Equatable {
        var requests: [[Bytes]] = []
        var refusal: String?
    }

    private static let seconds = ProcessInfo.processInfo.environment["HOLDFAST_FUZZ_SECONDS"].flatMap(Double.init) ?? 3

    @Test func streamsReadTheSameHoweverTheyAreCutAndWhateverIsWrongWithThem() {
        // A trap leaves no other trace of where it happened.
        print("Request fuzzing from HOLDFAST_FUZZ_SEED=\(FuzzSeed.first), \(Self.seconds) s")
        let end = ContinuousClock.now + .seconds(Self.seconds)
        var seed = FuzzSeed.first
        // At least so many, also on a machine where they take longer.
        while ContinuousClock.now < end || seed &- FuzzSeed.first < 200 {
            var source = RequestSource(seed: seed)
            let (stream, expected) = source.stream()
            let whole = Self.parse([stream[...]])
            #expect(whole == Outcome(requests: expected), "HOLDFAST_FUZZ_SEED=\(seed)")
            let damaged = source.damage(stream)
            let reference = Self.parse([damaged[...]])
            #expect(Self.parse(source.pieces(damaged), putsBack: true) == reference, "HOLDFAST_FUZZ_SEED=\(seed), cut")
            #expect(Self.parse(damaged.indices.map { damaged[$0...$0] }) == reference, "HOLDFAST_FUZZ_SEED=\(seed), byte by byte")
            guard whole == Outcome(requests: expected) else { return }
            seed &+= 1
        }
        print("Request fuzzing: \(seed &- FuzzSeed.first) streams")
    }

    private static func parse(_ pieces: [ArraySlice<UInt8>], putsBack: Bool = false) -> Outcome {
        let limits = RequestParser.Limits(argumentBytes: 1 << 10, arguments: 1 << 8, bufferBytes: 1 << 16, lineBytes: 1 << 9)
        var parser = RequestParser()
        var outcome = Outcome()
        var arguments: [Bytes] = []
        do throws(RequestParser.Violation) {
            for piece in pieces {
                try parser.feed(ByteBuffer(bytes: piece), limits)
                while try parser.next(into: &arguments, limits) {
                    if putsBack {
                        parser.putBack()
                        _ = try parser.next(into: &arguments, limits)
                    }
                    // Slices of a buffer that is soon overwritten.
                    outcome.requests.append(arguments.map { $0.compacted() })
                }
            }
        } catch {
            outcome.refusal = error.line
        }
        return outcome
    }
}

/// Makes requests at random, in both forms.
private struct RequestSource {
    private var generator: RandomSource

    init(seed: UInt64) { generator = RandomSource(seed: seed) }

    mutating func stream() -> ([UInt8], [[Bytes]]) {
        var (bytes, requests): ([UInt8], [[Bytes]]) = ([], [])
        for _ in 0..<pick(1...6) {
            switch pick(0...5) {
            case 0:
                let words = (0..<pick(1...4)).map { _ in Bytes("word\(pick(0...99))") }
                bytes += words.reduce(into: []) { $0 += Array($1) + [UInt8(ascii: " ")] } + (pick(0...1) == 0 ? [13, 10] : [10])
                requests.append(words)
            case 1: bytes += Array(["*0\r\n", "\r\n", "*-1\r\n", "  \n"][pick(0...3)].utf8)
            default:
                let arguments = (0..<pick(1...5)).map { _ in Bytes((0..<pick(0...pick(0...80))).map { _ in UInt8(pick(0...255)) })
                }
                bytes += Array("*\(arguments.count)\r\n".utf8)
                for argument in arguments { bytes += Array("$\(argument.count)\r\n".utf8) + Array(argument) + [13, 10] }
                requests.append(arguments)
            }
        }
        return (bytes, requests)
    }

    mutating func damage(_ stream: [UInt8]) -> [UInt8] {
        generator.damage(
            stream, marks: "0123456789+-$*\"'\\x \r\n", lengths: "*3\r\n$99999999999999999999\r\n*2147483647\r\n$-7\r\n")
    }

    mutating func pieces(_ stream: [UInt8]) -> [ArraySlice<UInt8>] { generator.pieces(of: stream) }

    private mutating func pick(_ range: ClosedRange<Int>) -> Int { generator.pick(range) }
}
