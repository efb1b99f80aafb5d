import Testing

@testable import holdfast

/// The table of `holdfast demo --outage`.
@Suite struct OutageBoardTests {
    private static let counts = [0, 7, 1234, 99_999, 100_000, 999_999, 1_000_000, 999_999_999]
    private static let spans: [Duration] = [
        .zero, .microseconds(7), .nanoseconds(999_600), .microseconds(99_960), .microseconds(999_960), .seconds(1), .seconds(12),
        .milliseconds(99_960), .seconds(100), .seconds(86_399),
    ]

    private static func board(_ count: Int, _ span: Duration) -> [String] {
        var reading = OutageMeter.Reading()
        reading.decider = "refused"
        (reading.calls, reading.refused) = (count, count)
        (reading.median, reading.worst) = (span, span)
        let rows = ["A", "B"].flatMap { name in
            [
                OutageBoard.Row(
                    instance: name, feature: "cache", reading: reading, waiting: OutageBoard.waiting(count, for: span)),
                OutageBoard.Row(feature: "sessions", reading: reading), OutageBoard.Row(feature: "limits", reading: reading),
            ]
        }
        return OutageBoard.lines(rows)
    }

    /// One that a terminal of 80 columns breaks in two would be drawn over by half.
    @Test func noLineIsWiderThanATerminalAndNothingIsCutOff() {
        for count in Self.counts {
            for span in Self.spans {
                let lines = Self.board(count, span)
                #expect(lines.count == 7)
                for line in lines { #expect(line.count <= 79, "\(line)") }
                let waiting = OutageBoard.waiting(count, for: span)
                #expect(lines[1].hasSuffix(waiting) && lines[4].hasSuffix(waiting), "\(lines[1])")
            }
        }
    }

    @Test func whatWaitsIsSaidShortly() {
        #expect(OutageBoard.waiting(0, for: .zero) == "-")
        #expect(OutageBoard.waiting(1234, for: .seconds(12)) == "1234, 12.0 s old")
        #expect(OutageBoard.waiting(1_234_567, for: .milliseconds(250)) == "1M, 250 ms old")
    }
}
