import HoldfastStore

/// What a demonstration did and checked, told while it happens.
final class DemoJournal: Sendable {
    struct Step: Sendable {
        let act: String
        let text: String
        let holds: Bool
        let detail: String
    }

    private struct State {
        var act = ""
        var steps: [Step] = []
    }

    private let isQuiet: Bool
    private let state = Locked(State())

    init(isQuiet: Bool) { self.isQuiet = isQuiet }

    var steps: [Step] { state.withLock(\.steps) }
    var count: Int { steps.count }
    var failures: Int { steps.count { !$0.holds } }

    func say(_ line: String) { if !isQuiet { Terminal.say(line) } }

    func begin(_ act: String) {
        state.withLock { $0.act = act }
        say("\n\(act)")
    }

    /// Notes one thing that should be so.
    func check(_ text: String, _ holds: Bool, _ detail: String = "") {
        state.withLock { $0.steps.append(Step(act: $0.act, text: text, holds: holds, detail: detail)) }
        say("  \(holds ? "ok    " : "FAILED")  \(text)\(detail.isEmpty ? "" : ": \(detail)")")
    }
}
