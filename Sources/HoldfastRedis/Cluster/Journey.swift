import HoldfastStore

/// The way of one command, transaction or procedure through a cluster, as a value: after each attempt it decides where to go next, or
/// that this was the end.
///
/// Bounds: redirections at most ``maximumRedirections``, and no new attempt after the deadline, which is the command timeout from
/// the start or the caller's. An attempt that begins just before may last its own timeout.
struct Journey: Sendable {
    typealias Node = RedisConfiguration.Node

    enum Target: Equatable, Sendable {
        /// Whoever serves the slot; for reads a replica where those are asked for.
        case owner
        /// The primary of the slot, also for reads.
        case primary
        case node(Node)
        case asking(Node)
    }

    enum Refresh: Int, Comparable {
        case none
        /// In the background: this call knows where to go.
        case later
        /// Before the next attempt; where no node can be asked the call fails.
        case first

        static func < (left: Refresh, right: Refresh) -> Bool { left.rawValue < right.rawValue }
    }

    enum Step {
        case end
        case go(Target, after: Duration, Refresh)
    }

    static let maximumRedirections = 16
    private static let pauses = Backoff(initial: .milliseconds(5), maximum: .milliseconds(200))

    private let deadline: UInt64
    private let isIdempotent: Bool
    private let retries: Bool
    private var redirections = 0
    private var waits = 0
    private var timeouts = 0
    private(set) var history: AttemptHistory

    /// - Parameters:
    ///   - retries: whether what may have happened and is idempotent is sent once more.
    ///   - history: of the call that this is a part of.
    init(deadline: UInt64, isIdempotent: Bool, retries: Bool, after history: AttemptHistory = AttemptHistory()) {
        self.history = history
        self.deadline = deadline
        self.isIdempotent = isIdempotent
        self.retries = retries
    }

    /// The server has answered with an error line.
    mutating func next(after redirection: Redirection, now: UInt64) -> Step {
        switch redirection {
        case .moved(_, let node): redirect(to: .node(node), .later)
        case .ask(let node): redirect(to: .asking(node), .none)
        case .wait: wait(now)
        }
    }

    /// There was no answer.
    mutating func next(after error: StoreError, now: UInt64) -> Step {
        history.add(error)
        switch error.code {
        case .connectionFailed, .serverLoading, .serverBusy, .serverReadOnly: return wait(now)
        case .connectionLost where error.effect == .none || (retries && isIdempotent): return wait(now)
        case .timeout where error.effect == .unknown && retries && isIdempotent && timeouts == 0:
            // The one attempt beyond the deadline, as on a single connection.
            timeouts += 1
            return .go(.primary, after: .zero, .first)
        default: return .end
        }
    }

    /// What the whole call ends with where its last attempt ended so.
    func end(with error: StoreError) -> StoreError { history.end(with: error) }

    /// The same where the last attempt was answered with an error line; nil where that line is the whole truth.
    func end(with error: ReplyError) -> StoreError? { history.end(with: error) }

    private mutating func redirect(to target: Target, _ refresh: Refresh) -> Step {
        redirections += 1
        return redirections > Self.maximumRedirections ? .end : .go(target, after: .zero, refresh)
    }

    private mutating func wait(_ now: UInt64) -> Step {
        waits += 1
        let pause = Self.pauses.pause(afterFailures: waits, fraction: .random(in: 0...1))
        guard now &+ UInt64(pause.clampedNanoseconds) < deadline else { return .end }
        return .go(.primary, after: pause, .first)
    }
}
