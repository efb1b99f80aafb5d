import Foundation

/// Where tests that make their input at random begin: elsewhere in each run, or at `HOLDFAST_FUZZ_SEED`, which is what a failure names.
public enum FuzzSeed {
    public static let first: UInt64 =
        ProcessInfo.processInfo.environment["HOLDFAST_FUZZ_SEED"].flatMap(UInt64.init) ?? .random(in: 0..<1 << 48)
}
