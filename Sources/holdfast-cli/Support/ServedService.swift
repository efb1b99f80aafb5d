import Foundation
import HoldfastServer
import HoldfastStore
import Logging

/// The one place where the command line meets the server's composition.
enum ServedService {
    /// Runs until a signal ends it, having said where it is once requests are accepted.
    static func run(_ configuration: HoldfastConfiguration, logger: Logger) async throws {
        let host = configuration.server.host
        let scheme = configuration.server.usesTLS ? "https" : "http"
        let service: HoldfastService
        do {
            service = try await HoldfastService(
                configuration: configuration, environment: ProcessInfo.processInfo.environment, logger: logger
            ) { summary, ports in
                announce(
                    summary, "\(scheme)://\(HostAndPort(host: host, port: ports.http))",
                    resp: ports.resp.map { HostAndPort(host: configuration.server.resp?.host ?? host, port: $0) })
            }
        } catch {
            let field = error.field.map { "\($0): " } ?? ""
            throw CommandFailure(.configuration, field + error.message)
        }
        do { try await service.run() } catch {
            throw CommandFailure(.unavailable, "the server ended: \(reason(error, configuration.server))")
        }
    }

    private static func announce(_ summary: HoldfastService.Summary, _ address: String, resp: HostAndPort?) {
        Terminal.say("Holdfast serves on \(address)")
        Terminal.say("  store    \(summary.store)")
        Terminal.say("  data     \(summary.data)")
        if let outbox = summary.outbox { Terminal.say("  outbox   \(outbox)") }
        if let resp { Terminal.say("  RESP     redis-cli -h \(resp.host) -p \(resp.port)") }
        Terminal.say("  API key  \(summary.keyFile ?? "as HOLDFAST_API_KEYS says")")
        if let key = summary.newKey { Terminal.say("           \(key) (new, shown this once)") }
        // Seen at once also where the output is a pipe or a file.
        fflush(nil)
    }

    private static func reason(_ error: any Error, _ server: HoldfastConfiguration.Server) -> String {
        let text = "\(error)"
        let address = HostAndPort(host: server.host, port: server.port)
        if text.contains("Address already in use") {
            if let resp = server.resp { return "\(address) or \(resp) is in use: HOLDFAST_PORT and HOLDFAST_RESP name others" }
            return "\(address) is in use: HOLDFAST_PORT names another port, 0 a free one"
        }
        if text.contains("Permission denied") { return "\(address) may not be listened on by this user" }
        return String(text.split(whereSeparator: \.isNewline).joined(separator: " ").prefix(300))
    }
}
