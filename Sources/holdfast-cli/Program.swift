import ArgumentParser
import Foundation
import HoldfastServer

/// The command line. Settings are taken out of the arguments first, by the table that also drives the environment; the rest is
/// the commands'.
@main
struct Program: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holdfast",
        abstract: "The state layer for agent backends: caches, sessions and rate limits, on Redis or in this process.",
        discussion: """
            Exit codes: 0 done; 1 not there, or a check failed; 64 wrong usage; 69 the server cannot be reached; 70 it failed; \
            75 try again later; 77 it refused the key; 78 the configuration cannot be used.

            Every setting is a flag of every command, an environment variable and a line in .env; `holdfast help serve` lists \
            them, `holdfast config` shows their values. --config FILE reads JSON or YAML, --env-file FILE another .env.
            """,
        version: "0.1.0",
        subcommands: [
            Serve.self, Demo.self, Config.self, Status.self, Doctor.self, Keys.self, Get.self, SetValue.self, Del.self,
            OutboxCommand.self,
        ]
    )

    static func main() async {
        do {
            let flags = try SettingFlags(parsing: Array(CommandLine.arguments.dropFirst()))
            try await Invocation.$flags.withValue(flags) {
                var command = try parseAsRoot(flags.remaining)
                if var asynchronous = command as? any AsyncParsableCommand {
                    try await asynchronous.run()
                } else {
                    try command.run()
                }
            }
        } catch let failure as CommandFailure {
            failure.finish()
        } catch let error as ConfigurationError {
            CommandFailure(.configuration, error.problems).finish()
        } catch {
            // Usage errors and requests for help.
            exit(withError: error)
        }
    }
}

/// What a command finds out about how it was called.
enum Invocation {
    @TaskLocal static var flags = SettingFlags()

    /// The configuration that this call means, with its warnings not yet said.
    static func load() async throws -> LoadedConfiguration {
        try await HoldfastConfiguration.load(.current(flags: flags))
    }
}
