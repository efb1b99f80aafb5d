import ArgumentParser
import HoldfastServer
import Logging

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the server.",
        discussion: """
            Runs until SIGTERM or SIGINT, then finishes what it has begun and ends with 0.

            Settings, each also an environment variable (--redis-url is REDIS_URL, --port is HOLDFAST_PORT):

            \(Setting.flagHelp)
            """
    )

    func run() async throws {
        let loaded = try await Invocation.load()
        let refusals = loaded.configuration.refusals
        if !refusals.isEmpty { throw CommandFailure(.configuration, refusals) }
        for line in loaded.warnings { Terminal.complain("warning: \(line)") }
        let level = loaded.configuration.server.logLevel.level
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
        try await ServedService.run(loaded.configuration, logger: Logger(label: "holdfast"))
    }
}
