import ArgumentParser
import Holdfast
import HoldfastStore
import NIOHTTP1

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how a running server is.",
        discussion: "Ends with 0 where it is healthy or degraded, 1 where it is not, 69 where none answers."
    )

    @Flag(help: "Print JSON for programs.")
    var json = false
    @OptionGroup var server: ClientOptions

    func run() async throws { try await server.withClient(run) }

    private func run(_ client: APIClient) async throws {
        let health = try await client.exchange(.GET, "/api/v1/health/detailed")
        // A server that is not well answers 503 with the same document.
        guard health.status == 503 || (200..<300).contains(health.status), health.json.object != nil else {
            throw client.failure(health)
        }
        let cache = try await client.call(.GET, "/api/v1/cache/status").json
        if json {
            Terminal.say(json: ["url": .string(client.url), "health": health.json, "cache": cache])
        } else {
            Terminal.say("Server  \(client.url)")
            show(health.json, title: "Health")
            show(cache, title: "Cache")
        }
        let state = health.json["status"]?.string ?? ""
        if ["unhealthy", "critical", "error", "fail", "down"].contains(state) {
            throw CommandFailure(.negative, "the server says that it is \(state)")
        }
    }

    private func show(_ value: JSONValue, title: String) {
        var table = Table(title)
        add(value, "", to: &table)
        Terminal.say()
        Terminal.say(table.text)
    }

    /// Members of members are shown with dots between their names, the health checks by theirs.
    private func add(_ value: JSONValue, _ path: String, to table: inout Table) {
        if let members = value.object, !members.isEmpty {
            for (name, member) in members.sorted(by: { $0.key < $1.key }) {
                add(member, path.isEmpty ? name : "\(path).\(name)", to: &table)
            }
        } else if let checks = value.array, !checks.isEmpty, checks.allSatisfy({ $0["name"]?.string != nil }) {
            for check in checks { table.add("  \(path).\(check["name"]?.string ?? "")", Self.verdict(check)) }
        } else if !value.isNull {
            table.add("  " + path, value.string ?? value.encoded()?.lossyString ?? "")
        }
    }

    /// Such as `ok, 0.03 ms`.
    private static func verdict(_ check: JSONValue) -> String {
        let figure = check["value"]?.double.map { "\(($0 * 1000).rounded() / 1000) \(check["unit"]?.string ?? "")" }
        return [check["status"]?.string, figure, check["message"]?.string].compactMap(\.self).joined(separator: ", ")
    }
}
