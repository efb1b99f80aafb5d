import ArgumentParser
import Foundation
import Holdfast
import NIOHTTP1

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the keys of cache entries.",
        discussion:
            "The pattern is Redis's: * ? [abc]. Keys that come or go meanwhile may be missed. Ends with 1 where there is none."
    )

    @Argument(help: "Which keys to list.")
    var pattern: String = "*"
    @Option(help: "At most so many.")
    var limit: Int = 1000
    @OptionGroup var entry: EntryOptions
    @OptionGroup var server: ClientOptions

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit must be more than 0") }
    }

    func run() async throws { try await server.withClient(run) }

    private func run(_ client: APIClient) async throws {
        var keys: [String] = []
        // A listing that goes on while keys come and go may name one twice.
        var seen: Swift.Set<String> = []
        var cursor: String?
        repeat {
            let page = try await client.call(.GET, path(cursor))
            if page.status == 404 { throw client.failure(page) }
            keys += (page.json["keys"]?.array ?? []).compactMap(\.string).filter { seen.insert($0).inserted }
            cursor = page.json["next_cursor"]?.string
        } while keys.count < limit && cursor != nil
        show(keys.prefix(limit), isComplete: cursor == nil && keys.count <= limit)
        if keys.isEmpty { throw CommandFailure(.negative, "no key of workspace \(entry.workspace) matches \(pattern)") }
    }

    private func path(_ cursor: String?) -> String {
        let parameters = [
            ("pattern", pattern), ("workspace", entry.workspace), ("limit", String(min(1000, limit))), ("cursor", cursor ?? ""),
        ]
        return "/api/v1/cache/keys?"
            + parameters.filter { !$0.1.isEmpty }.map { "\($0.0)=\(APIClient.escape($0.1))" }.joined(separator: "&")
    }

    private func show(_ keys: ArraySlice<String>, isComplete: Bool) {
        if entry.json {
            return Terminal.say(json: ["keys": .array(keys.map { .string($0) }), "complete": .bool(isComplete)])
        }
        for key in keys { Terminal.say(key) }
        if !isComplete { Terminal.complain("there are more; --limit shows more of them") }
    }
}
