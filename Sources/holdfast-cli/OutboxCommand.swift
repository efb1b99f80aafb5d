import ArgumentParser
import Holdfast
import HoldfastStore
import NIOHTTP1

struct OutboxCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outbox", abstract: "Show what waits for a server that is away, and decide about what it refused.",
        subcommands: [Waiting.self, Dead.self, Retry.self, Drop.self], defaultSubcommand: Waiting.self)

    struct Waiting: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how much waits, and the first of it.",
            discussion: "What an entry is about is not shown: among the keys are session ids.")

        @Option(help: "At most so many entries.")
        var limit: Int = 20
        @Flag(help: "Print JSON for programs.")
        var json = false
        @OptionGroup var server: ClientOptions

        func validate() throws { try OutboxCommand.check(limit) }

        func run() async throws {
            try await server.withClient { client in
                let page = try await client.call(.GET, "/api/v1/outbox?limit=\(limit)").json
                json ? Terminal.say(json: page) : show(page)
            }
        }

        private func show(_ page: JSONValue) {
            let status = page["status"] ?? .null
            var table = Table()
            table.add("Waiting", Self.text(status["backlog"]) + (status["replaying"] == true ? ", being handed over" : ""))
            if let oldest = status["oldest"]?.string {
                table.add("Oldest", "\(oldest), \(Self.text(status["oldest_seconds"])) s ago")
            }
            table.add("Dead letters", Self.text(status["dead_letters"]))
            table.add("Handed over", Self.text(status["handed_over"]) + " since the start")
            table.add("Refused", Self.text(status["refused"]) + ", because it was full")
            table.add("Bytes", Self.text(status["bytes"]))
            table.add("Kept", status["durable"] == true ? "in the data folder" : "in memory; HOLDFAST_DATA would keep it")
            Terminal.say(table.text)
            let entries = page["entries"]?.array ?? []
            guard !entries.isEmpty else { return }
            var list = Table("NUMBER", "ACTION", "ACCEPTED")
            for entry in entries {
                list.add(Self.text(entry["number"]), entry["action"]?.string ?? "", entry["accepted"]?.string ?? "")
            }
            Terminal.say("\n" + list.text)
        }

        private static func text(_ value: JSONValue?) -> String { value?.encoded()?.lossyString ?? "" }
    }

    struct Dead: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List what the server answered with an error when it was handed over.",
            discussion: "Ends with 1 where there is something.")

        @Option(help: "At most so many.")
        var limit: Int = 100
        @Flag(help: "Print JSON for programs.")
        var json = false
        @OptionGroup var server: ClientOptions

        func validate() throws { try OutboxCommand.check(limit) }

        func run() async throws {
            let letters = try await server.withClient { try await OutboxCommand.letters($0, atMost: limit) }
            if json {
                Terminal.say(json: ["dead_letters": .array(letters)])
            } else if letters.isEmpty {
                Terminal.say("There are no dead letters.")
            } else {
                var table = Table("NUMBER", "ACTION", "ACCEPTED", "CODE", "REASON")
                for letter in letters {
                    table.add(
                        letter["number"]?.integer?.description ?? "", letter["action"]?.string ?? "",
                        letter["accepted"]?.string ?? "", letter["code"]?.string ?? "", letter["reason"]?.string ?? "")
                }
                Terminal.say(table.text)
            }
            if !letters.isEmpty {
                throw CommandFailure(
                    .negative, "they wait for a decision: holdfast outbox retry NUMBER, holdfast outbox drop NUMBER")
            }
        }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let dead letters wait for the server again, once their cause is mended.",
            discussion: "Ends with 1 where there is none of this number.")

        @OptionGroup var chosen: Chosen

        func run() async throws { try await chosen.decide(.POST, "/retry", done: "waits again") }
    }

    struct Drop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget dead letters: what they stand for will not happen.",
            discussion: "Ends with 1 where there is none of this number.")

        @OptionGroup var chosen: Chosen

        func run() async throws { try await chosen.decide(.DELETE, "", done: "is forgotten") }
    }

    /// Which dead letters are meant.
    struct Chosen: ParsableArguments {
        @Argument(help: "The dead letter's number.")
        var number: Int64?
        @Flag(help: "All there are.")
        var all = false
        @Flag(help: "Print JSON for programs.")
        var json = false
        @OptionGroup var server: ClientOptions

        func validate() throws {
            guard (number != nil) != all else { throw ValidationError("Give a number, or --all") }
        }

        func decide(_ method: HTTPMethod, _ suffix: String, done: String) async throws {
            try await server.withClient { client in
                var numbers = number.map { [$0] } ?? []
                if all { numbers = try await OutboxCommand.letters(client).compactMap { $0["number"]?.integer } }
                for number in numbers {
                    let answer = try await client.call(method, "/api/v1/outbox/dead/\(number)\(suffix)")
                    // With --all, somebody else may have decided meanwhile.
                    if answer.status == 404, !all { throw client.failure(answer) }
                    if !json { Terminal.say("\(number) \(done)") }
                }
                if json { Terminal.say(json: ["numbers": .array(numbers.map { .integer($0) })]) }
            }
        }
    }

    fileprivate static func check(_ limit: Int) throws {
        guard (1...1000).contains(limit) else { throw ValidationError("--limit must be from 1 to 1000") }
    }

    /// Page after page.
    fileprivate static func letters(_ client: APIClient, atMost most: Int = .max) async throws -> [JSONValue] {
        var found: [JSONValue] = []
        var cursor: String?
        repeat {
            let place = cursor.map { "&cursor=\(APIClient.escape($0))" } ?? ""
            let page = try await client.call(.GET, "/api/v1/outbox/dead?limit=\(min(1000, most))\(place)").json
            found += page["dead_letters"]?.array ?? []
            cursor = page["next_cursor"]?.string
        } while cursor != nil && found.count < most
        return Array(found.prefix(most))
    }
}
