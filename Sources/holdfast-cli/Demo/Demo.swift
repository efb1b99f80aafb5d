import ArgumentParser
import Holdfast
import HoldfastServer
import HoldfastStore

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what Holdfast does, on the store in use.",
        discussion: """
            Runs the reference systems' demonstrations of caches, limits and sessions, checks what comes out, and removes what it \
            wrote. Uses the configured Redis, or the embedded store where none is. Ends with 1 where a check failed.

            --outage starts a Redis of its own, kills it under two instances at work, shows what each feature does meanwhile, brings \
            it back, and proves that nothing that was promised was lost, doubled or revived. Half a minute; needs redis-server.
            """
    )

    @Flag(help: "Print JSON for programs.")
    var json = false

    @Flag(help: "Kill a Redis under load instead, and prove what becomes of it.")
    var outage = false

    @Flag(help: "With --outage: as short as the proof allows.")
    var fast = false

    func validate() throws {
        guard outage || !fast else { throw ValidationError("--fast goes with --outage") }
    }

    func run() async throws {
        if outage { return try await runOutage() }
        let loaded = try await Invocation.load()
        if !loaded.configuration.refusals.isEmpty { throw CommandFailure(.configuration, loaded.configuration.refusals) }
        let stage = try await DemoStage.open(loaded.configuration)
        let journal = DemoJournal(isQuiet: json)
        let clock = ContinuousClock()
        let start = clock.now
        journal.say("Store: \(stage.storeDescription)")
        for act in Self.acts {
            journal.begin(act.title)
            do { try await act.play(stage, journal) } catch { journal.check("no error", false, "\(error)") }
        }
        await stage.close()
        finish(journal, on: stage.storeDescription, (clock.now - start).seconds)
        try end(journal)
    }

    private func runOutage() async throws {
        let journal = DemoJournal(isQuiet: json)
        let start = ContinuousClock.now
        let server = try await OutageShow.play(journal, isQuiet: json, isFast: fast)
        finish(journal, on: server, (ContinuousClock.now - start).seconds)
        try end(journal)
    }

    private func end(_ journal: DemoJournal) throws {
        if journal.failures > 0 { throw CommandFailure(.negative, "\(journal.failures) of \(journal.count) checks failed") }
    }

    private struct Act: Sendable {
        let title: String
        let play: @Sendable (DemoStage, DemoJournal) async throws -> Void
    }

    private static let acts = [
        Act(title: "Cache", play: CacheDemo.play), Act(title: "Rate limits", play: LimitsDemo.play),
        Act(title: "Sessions", play: SessionsDemo.play), Act(title: "An agent at work", play: WorkflowDemo.play),
        Act(title: "When the server goes away", play: OutageDemo.play),
    ]

    private func finish(_ journal: DemoJournal, on store: String, _ seconds: Double) {
        guard json else {
            let verdict = journal.failures == 0 ? "all held" : "\(journal.failures) failed"
            return journal.say(
                "\n\(journal.count) checks, \(verdict), in \((seconds * 10).rounded() / 10) s on \(store)")
        }
        let steps = journal.steps.map { step -> JSONValue in
            ["act": .string(step.act), "step": .string(step.text), "ok": .bool(step.holds), "detail": .string(step.detail)]
        }
        Terminal.say(json: [
            "store": .string(store), "ok": .bool(journal.failures == 0), "seconds": .double(seconds),
            "steps": .array(steps),
        ])
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
