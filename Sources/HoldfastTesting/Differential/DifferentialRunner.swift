public import HoldfastStore

/// Plays a program on two stores and says where they part.
///
/// **What is compared.** After each step the replies, and the whole state of the keys that the step names: type, content, and the
/// moment at which they end, to the millisecond. After each step that lets time pass, and at the end, the state of every key that
/// the program has named.
///
/// **Time.** A server cannot be given a clock, so the program's clock begins at ``start``, years ahead of the server's: whatever
/// a program says about moments near its own time lies in the server's future, and nothing ends there by itself. The runner does
/// it instead: what has ended by the program's clock is removed from the server after each step (``KeyState/read(_:from:removingEndedBy:)``).
/// Spans are given to the server as moments (``ServerForm``); procedures are given the program's time as their `now` on both.
/// Moments in the server's past (`PEXPIREAT k 1`) remove the entry at once on both. So no comparison needs a tolerance. What is
/// not covered is an entry that ends in the middle of one transaction or procedure: generators make none in transactions.
///
/// **Order and chance.** Replies whose order means nothing are sorted; scans are played to their end and compared as sets; what
/// depends on chance is checked against the entry as it was, and then the subject's outcome is copied to the server.
public struct DifferentialRunner: Sendable {
    /// 2033-05-18T03:33:20Z.
    public static let start = Timestamp(milliseconds: 2_000_000_000_000)

    /// Makes a fresh store on a clock: the one under test.
    private let makeSubject: @Sendable (ManualTime) -> any Store
    private let reference: any Store
    private let isRESP2: Bool

    /// - Parameters:
    ///   - reference: a real server, whose whole database belongs to the runner and is emptied before each program.
    ///   - isRESP2: whether the reference answers in RESP2's poorer shapes.
    ///   - makeSubject: the store under test; by default the embedded one.
    public init(
        reference: any Store, isRESP2: Bool = false,
        makeSubject: @escaping @Sendable (ManualTime) -> any Store = { EmbeddedStore(.init(seed: 1), time: $0) }
    ) {
        self.reference = reference
        self.isRESP2 = isRESP2
        self.makeSubject = makeSubject
    }

    /// Where two stores part.
    public struct Mismatch: Error, Sendable, CustomStringConvertible {
        /// The steps up to the one that shows it.
        public let program: [Step]
        public let what: String

        /// The program as lines for redis-cli, with both answers to the last.
        public var description: String {
            var now = DifferentialRunner.start
            var lines: [String] = []
            for step in program {
                lines += step.lines(at: now)
                if case .advance(let span) = step { now = now + span }
            }
            return (lines + [what]).joined(separator: "\n")
        }
    }

    /// Plays the program from an empty database on; nil when the stores agree all the way.
    public func play(_ program: [Step]) async throws -> Mismatch? {
        _ = try await reference(.flushdb)
        let time = ManualTime(now: Self.start)
        var play = Play(subject: makeSubject(time), reference: reference, time: time, isRESP2: isRESP2)
        for (index, step) in program.enumerated() {
            if let what = try await play.perform(step) { return Mismatch(program: Array(program[...index]), what: what) }
        }
        let what = try await play.compareEverything()
        return what.map { Mismatch(program: program, what: $0) }
    }

    /// A shorter program on which the stores still part: drops ever smaller runs of steps for as long as that helps.
    ///
    /// - Parameter attempts: how many programs to play at most.
    public func shrink(_ mismatch: Mismatch, attempts: Int = 400) async throws -> Mismatch {
        var best = mismatch
        var left = attempts
        var size = max(1, best.program.count / 2)
        while left > 0 {
            var start = 0
            var helped = false
            while start < best.program.count, left > 0 {
                var shorter = best.program
                shorter.removeSubrange(start..<min(start + size, shorter.count))
                left -= 1
                if let found = try await play(shorter) {
                    best = found
                    helped = true
                } else {
                    start += size
                }
            }
            if size == 1, !helped { break }
            size = max(1, size / 2)
        }
        return best
    }
}
