import Holdfast
import Testing

/// `holdfast demo --outage`, run as a user runs it.
@Suite struct OutageDemoTests {
    @Test func itKillsARedisAndProvesThatNothingWasLost() async throws {
        let result = try await CommandLineProgram()("demo", "--outage", "--fast", "--json")
        #expect(result.status == 0, "\(result)")
        let report = JSONValue(json: result.output.utf8)
        #expect(report?["ok"] == true, "\(result.output)")
        #expect((report?["steps"]?.array?.count ?? 0) >= 7)
        #expect(report?["store"]?.string?.hasPrefix("Redis ") == true)
    }

    @Test func withoutATerminalItSaysInLinesWhatHappens() async throws {
        let result = try await CommandLineProgram()("demo", "--outage", "--fast")
        #expect(result.status == 0, "\(result)")
        for text in ["kill -9", "instance A decides here", "1 of 3", "2 of 3", "3 of 3", "all held"] {
            #expect(result.output.contains(text), "\(result.output)")
        }
        #expect(!result.output.contains("\u{1B}"))
    }
}
