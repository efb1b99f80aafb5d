import ArgumentParser
import Holdfast
import NIOHTTP1

struct Del: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete cache entries.",
        discussion: "Prints how many there were. Ends with 1 where there was none."
    )

    @Argument(help: "The entries' keys.")
    var keys: [String]
    @OptionGroup var entry: EntryOptions
    @OptionGroup var server: ClientOptions

    func validate() throws { try keys.forEach(EntryOptions.check) }

    func run() async throws { try await server.withClient(run) }

    private func run(_ client: APIClient) async throws {
        var deleted: Int64 = 0
        for key in keys {
            let answer = try await client.call(.DELETE, APIClient.entryPath(workspace: entry.workspace, key: key))
            // A server may answer 200 for an entry that was not there, and then says so.
            if answer.status != 404, answer.json["deleted"]?.bool != false { deleted += 1 }
        }
        if entry.json { Terminal.say(json: ["deleted": .integer(deleted)]) } else { Terminal.say("\(deleted)") }
        if deleted == 0 {
            throw CommandFailure(.negative, keys.count == 1 ? "there was no such entry" : "there were no such entries")
        }
    }
}
