import ArgumentParser
import HoldfastServer

struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show every setting, its value and where that comes from.",
        discussion: "Secrets are redacted. Ends with 78 and one line for each mistake where the configuration cannot be used."
    )

    @Flag(help: "Print JSON for programs.")
    var json = false

    @Flag(help: "Show only what differs from the defaults.")
    var changed = false

    func run() async throws {
        let report = ConfigurationReport(try await Invocation.load())
        if json { return try Terminal.say(document: report) }
        var table = Table()
        for section in Setting.Section.allCases {
            let rows = report.settings.filter { $0.section == section.rawValue && !(changed && $0.setBy == nil) }
            if rows.isEmpty { continue }
            table.add(section.rawValue)
            for row in rows { table.add("  " + row.name, row.value, source(row)) }
        }
        Terminal.say(table.text)
        Terminal.say("Store: \(report.store)")
        if let outbox = report.outbox { Terminal.say("Outbox: \(outbox)") }
        for line in report.warnings { Terminal.say("Warning: \(line)") }
        for line in report.refusals { Terminal.say("Cannot start: \(line)") }
    }

    private func source(_ row: ConfigurationReport.Row) -> String {
        guard let name = row.setBy, name != row.name else { return row.source }
        return "\(row.source), as \(name)"
    }
}
