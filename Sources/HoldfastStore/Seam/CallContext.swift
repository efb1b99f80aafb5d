/// On whose behalf a call is made and how long it may take. It travels with the task, so that audit, tracing, limits and stores see
/// the same one without each function passing it on.
public struct CallContext: Sendable {
    /// What an API key may do.
    public enum Role: String, Sendable, Hashable, CaseIterable, Comparable {
        case reader, `operator`, admin

        private var rank: Int {
            switch self {
            case .reader: 0
            case .operator: 1
            case .admin: 2
            }
        }

        public static func < (left: Role, right: Role) -> Bool { left.rank < right.rank }
    }

    /// The tenant that the caller is bound to; nil for the default one.
    public var tenant: String?
    /// Who is calling: an API key's name, a job, a person. For audit; never a secret.
    public var actor: String?
    public var role: Role?
    /// When the caller stops waiting, on the clock ``TimeSource/uptime``. Stores give up at the earlier of this and their own
    /// timeout, with ``ErrorCode/deadlineExceeded``.
    public var deadline: Duration?
    /// The request's identifier, for logs.
    public var requestID: String?
    /// W3C trace context to pass on: `traceparent`, `tracestate`.
    public var traceHeaders: [String: String]

    public init(
        tenant: String? = nil, actor: String? = nil, role: Role? = nil, deadline: Duration? = nil, requestID: String? = nil,
        traceHeaders: [String: String] = [:]
    ) {
        self.tenant = tenant
        self.actor = actor
        self.role = role
        self.deadline = deadline
        self.requestID = requestID
        self.traceHeaders = traceHeaders
    }

    /// The context of the current task; empty where none was set.
    @TaskLocal public static var current: CallContext?

    /// The current one for something that is given so long at most: with that deadline, or its own where that is earlier.
    ///
    /// - Parameter actor: on whose behalf, where there is none.
    package static func within(_ span: Duration, by time: any TimeSource, as actor: String) -> CallContext {
        var context = current ?? CallContext(actor: actor)
        let limit = time.uptime + span
        context.deadline = min(context.deadline ?? limit, limit)
        return context
    }

    /// For whoever works in bounded steps, before each of them.
    ///
    /// - Throws: ``ErrorCode/cancelled`` where the task was cancelled, ``ErrorCode/deadlineExceeded`` where the current deadline has passed.
    package static func checkTime(_ time: any TimeSource, operation: String? = nil) throws(StoreError) {
        if Task.isCancelled { throw StoreError(.cancelled, operation: operation) }
        if let deadline = current?.deadline, time.uptime >= deadline {
            throw StoreError(.deadlineExceeded, operation: operation)
        }
    }

    /// Runs the body with this context as the current one.
    public func run<Output: Sendable>(_ body: () async throws(StoreError) -> Output) async throws(StoreError) -> Output {
        let result: Result<Output, StoreError> = await Self.$current.withValue(self) {
            do throws(StoreError) { return .success(try await body()) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
