import Foundation
public import HoldfastStore

/// Where tests that make their input at random begin: elsewhere in each run, or at `HOLDFAST_FUZZ_SEED`, which is what a failure names.
public enum FuzzSeed {
    public static let first: UInt64 =
        ProcessInfo.processInfo.environment["HOLDFAST_FUZZ_SEED"].flatMap(UInt64.init) ?? .random(in: 0..<1 << 48)
}

extension RandomSource {
    public mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    /// Some bytes of a stream changed, taken out, doubled or put in.
    ///
    /// - Parameters:
    ///   - marks: what means something to the reader; two of them are put in.
    ///   - lengths: claims that are a favourite; the end of them is put in.
    public mutating func damage(_ stream: [UInt8], marks: String, lengths: String) -> [UInt8] {
        var stream = stream
        for _ in 0..<pick(1...4) where !stream.isEmpty {
            let place = pick(0...(stream.count - 1))
            switch pick(0...5) {
            case 0: stream[place] = UInt8(pick(0...255))
            case 1: stream.removeSubrange(place..<min(stream.count, place + pick(1...9)))
            case 2: stream.insert(contentsOf: stream[place..<min(stream.count, place + pick(1...9))], at: place)
            case 3: stream.insert(contentsOf: Array(marks.utf8).shuffled(using: &self).prefix(2), at: place)
            case 4: stream.insert(contentsOf: Array(lengths.utf8).dropFirst(pick(0...40)), at: place)
            default: stream.removeLast(pick(0...stream.count))
            }
        }
        return stream
    }

    /// The same stream in pieces.
    public mutating func pieces(of stream: [UInt8]) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let piece = rest.prefix(pick(1...20))
            pieces.append(piece)
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }
}
