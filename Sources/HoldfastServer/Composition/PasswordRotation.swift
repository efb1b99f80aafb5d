import HoldfastStore
import Logging
import ServiceLifecycle

/// Looks at the file of the server's password now and then, and shows the connections that exist what it says now. New connections read it
/// by themselves.
struct PasswordRotation: Service {
    private let password: LastPassword
    private let reauthenticate: @Sendable () async throws(StoreError) -> Void
    private let logger: Logger
    private let interval: Duration
    /// What the file said before there was any connection.
    private let first: String

    /// - Parameter reauthenticate: shows the connections what the file says then.
    init(
        _ password: LastPassword, logger: Logger, interval: Duration = .seconds(2),
        reauthenticate: @escaping @Sendable () async throws(StoreError) -> Void
    ) {
        self.password = password
        self.reauthenticate = reauthenticate
        self.logger = logger
        self.interval = interval
        first = password.read()
    }

    func run() async { await cancelWhenGracefulShutdown { await watch() } }

    private func watch() async {
        var shown = first
        var told: StoreError?
        while (try? await Task.sleep(for: interval)) != nil {
            let now = password.read()
            guard now != shown else { continue }
            do throws(StoreError) {
                try await reauthenticate()
                (shown, told) = (now, nil)
                logger.notice("the connections to the server have shown its new password", metadata: metadata)
            } catch {
                // Again at the next look: the server may be told of the password later than we.
                if told != error { logger.warning("the server's new password cannot be used yet", metadata: metadata(error)) }
                told = error
            }
        }
    }

    private var metadata: Logger.Metadata { ["file": "\(password.file.path)"] }

    private func metadata(_ error: StoreError) -> Logger.Metadata { metadata.merging(["error": "\(error)"]) { $1 } }
}
