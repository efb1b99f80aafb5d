import ArgumentParser
import Foundation
import Holdfast
import HoldfastServer
import NIOHTTP1

/// `holdfast set`. The type is not called Set, which is the collection's name.
struct SetValue: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Set a cache entry.",
        discussion: "A value that is JSON is kept as such, any other as text."
    )

    @Argument(help: "The entry's key.")
    var key: String
    @Argument(help: "The value, or - to read it from standard input.")
    var value: String
    @Option(help: "How long it lives, as in 500ms, 90, 5m, 1h (default: REDIS_DEFAULT_TTL of the server).")
    var ttl: String?
    @Flag(name: .customLong("text"), help: "Keep the value as text, even where it is JSON.")
    var isText = false
    @OptionGroup var entry: EntryOptions
    @OptionGroup var server: ClientOptions

    func validate() throws { try EntryOptions.check(key) }

    func run() async throws {
        var body: [String: JSONValue] = ["value": try parsedValue()]
        if let ttl {
            guard let seconds = SettingText.seconds(ttl) else {
                throw CommandFailure(.usage, "--ttl \(ttl): accepted is a duration such as 500ms, 90, 5m or 1h")
            }
            body["ttl_seconds"] = seconds == seconds.rounded() ? .integer(Int64(seconds)) : .double(seconds)
        }
        let path = APIClient.entryPath(workspace: entry.workspace, key: key)
        let answer = try await server.withClient { client in
            let answer = try await client.call(.PUT, path, body: .object(body))
            if answer.status == 404 { throw client.failure(answer) }
            return answer
        }
        if entry.json { Terminal.say(json: answer.json) } else { Terminal.say("OK") }
    }

    private func parsedValue() throws -> JSONValue {
        let text: String
        if value == "-" {
            let data = (try? FileHandle.standardInput.readToEnd()) ?? Data()
            guard let input = String(data: data, encoding: .utf8) else {
                throw CommandFailure(.data, "standard input is not UTF-8")
            }
            text = input.hasSuffix("\n") ? String(input.dropLast()) : input
        } else {
            text = value
        }
        return isText ? .string(text) : JSONValue(json: text.utf8) ?? .string(text)
    }
}
