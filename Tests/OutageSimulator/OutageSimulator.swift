import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Random schedules of several processes, one server and the links between them, on a manual clock: `scripts/simulate`.
///
///     outage-simulator [--schedules N] [--seed S] [--trace]
///
/// It ends with 1 and names the seed of each schedule in which something did not hold; `--seed S` plays that one again, the same in
/// every detail, provided that `SWIFT_DETERMINISTIC_HASHING` is set for both.
@main struct OutageSimulator {
    static func main() {
        var arguments = CommandLine.arguments.dropFirst()
        var (schedules, first, isTraced) = (1000, UInt64(1), false)
        while let name = arguments.popFirst() {
            switch name {
            case "--schedules": schedules = arguments.popFirst().flatMap { Int($0) } ?? schedules
            case "--seed": (first, schedules) = (arguments.popFirst().flatMap { UInt64($0) } ?? first, 1)
            case "--from": first = arguments.popFirst().flatMap { UInt64($0) } ?? first
            case "--trace": isTraced = true
            default:
                print("outage-simulator [--schedules N] [--from SEED] [--seed SEED] [--trace]")
                exit(64)
            }
        }
        DeterministicLoop.install()
        var failed = 0
        for seed in first..<first + UInt64(schedules) {
            let played = seed - first
            if played > 0, played.isMultiple(of: 1000) { say("\(played) of \(schedules) schedules, \(failed) failed") }
            if isTraced { print("seed \(seed)") }
            let violations = Simulation(seed: seed) { [isTraced] line in if isTraced { print(line) } }.run()
            guard !violations.isEmpty else { continue }
            failed += 1
            if failed <= 20 { for violation in violations.prefix(3) { say("seed \(seed): \(violation)") } }
        }
        say("\(schedules) schedules, \(failed) failed")
        if failed > 0 { exit(1) }
    }

    /// At once, also into a file.
    private static func say(_ line: String) {
        print(line)
        fflush(nil)
    }
}
