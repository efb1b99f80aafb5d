import ArgumentParser
import Holdfast
import NIOHTTP1

struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a cache entry.",
        discussion: "Texts are printed as they are, everything else as JSON. Ends with 1 where there is no such entry."
    )

    @Argument(help: "The entry's key.")
    var key: String
    @OptionGroup var entry: EntryOptions
    @OptionGroup var server: ClientOptions

    func validate() throws { try EntryOptions.check(key) }

    func run() async throws { try await server.withClient(run) }

    private func run(_ client: APIClient) async throws {
        let answer = try await client.call(.GET, APIClient.entryPath(workspace: entry.workspace, key: key))
        if answer.status == 404 { throw CommandFailure(.negative, "there is no entry \(key) in workspace \(entry.workspace)") }
        if entry.json { return Terminal.say(json: answer.json) }
        let value = answer.json["value"] ?? .null
        if let text = value.string { Terminal.say(text) } else { Terminal.say(json: value) }
    }
}
