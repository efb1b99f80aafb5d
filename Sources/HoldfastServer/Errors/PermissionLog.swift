import HoldfastStore
import Logging

/// Tells the log what the server's user may not do: each command once, however many requests meet it.
final class PermissionLog: Sendable {
    private struct Refusal: Hashable {
        let operation: String?
        let message: String
    }

    /// More are not told: there are fewer commands.
    private static let capacity = 512

    private let told = Locked<Set<Refusal>>([])
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    func note(_ error: StoreError) {
        guard error.code == .permissionMissing else { return }
        let refusal = Refusal(operation: error.operation, message: error.message)
        let isNews = told.withLock { told in told.count < Self.capacity && told.insert(refusal).inserted }
        guard isNews else { return }
        logger.warning(
            "the server's user may not do what is asked of it; told once for each command",
            metadata: ["operation": "\(error.operation ?? "unknown")", "error": "\(error.message)"])
    }
}
