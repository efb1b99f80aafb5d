import NIOCore
import NIOHTTP1

/// One HTTP/1.1 connection as a value: what is being read, what is still to be answered, and how it ends.
///
/// ```
///   idle ──bytes──► head ──head──► body ──end──► idle        reading; heads and bodies have deadlines, and so has doing nothing
///
///   open ──last answer, or a refusal──► ending ──the peer closes, or it takes too long──► closed
/// ```
///
/// It keeps what Hummingbird leaves to the wire: an answer, not silence, for what is no HTTP (``fail(_:)``), `100 Continue`, an end after
/// HTTP/1.0 and after bodies that nobody reads, and deadlines. Answers leave in the order of their requests: a refusal waits for those
/// before it. It ends by closing its own direction first and reading on for a while, because closing with unread bytes would make the
/// kernel reset the connection and the peer lose its answer.
struct ConnectionState {
    /// What the shell has to do.
    enum Action {
        case none
        /// Write the problem, close this direction, and drain.
        case refuse(Refusal)
        /// Close this direction, and drain.
        case finish
        /// Close at once.
        case close
    }

    private enum Reading { case idle, head, body }
    private enum Stage { case open, ending, closed }

    let limits: ConnectionLimits

    private var reading = Reading.idle
    private var stage = Stage.open
    /// When what is being read, done nothing or drained began.
    private var since: NIODeadline
    /// Requests handed on, and answers that left.
    private var requests = 0
    private var answers = 0
    /// The head of an answer has left, its end has not.
    private var isAnswering = false
    /// The number of the request after whose answer the connection ends.
    private var lastRequest: Int?
    private var expectedBody: Int?
    private var receivedBody = 0
    private(set) var awaitsContinue = false
    /// A refusal that waits until so many answers have left.
    private var pending: (refusal: Refusal, after: Int)?
    private var drained = 0

    init(limits: ConnectionLimits, now: NIODeadline) {
        self.limits = limits
        since = now
    }

    /// Whether nothing that arrives from now on is looked at: behind a refusal, and behind the last request, may be anything.
    var ignoresInput: Bool { stage != .open || pending != nil || (lastRequest != nil && reading != .body) }
    /// Whether nothing that is written from now on is sent.
    var ignoresOutput: Bool { stage != .open }
    /// Whether the bytes that arrive begin or belong to a request's head.
    var isBeforeBody: Bool { reading != .body }

    // MARK: - Reading

    /// Bytes arrived, before anything was made of them.
    mutating func bytesArrived(now: NIODeadline) {
        guard !ignoresInput, reading == .idle else { return }
        reading = .head
        since = now
    }

    /// Whether the request is handed on.
    mutating func headArrived(_ head: HTTPRequestHead, now: NIODeadline) -> Bool {
        guard !ignoresInput else { return false }
        requests += 1
        reading = .body
        since = now
        receivedBody = 0
        expectedBody = head.headers.first(name: "content-length").flatMap { Int($0) }
        let hasBody = expectedBody ?? 0 > 0 || head.headers.contains(name: "transfer-encoding")
        awaitsContinue = hasBody && head.version == .http1_1 && head.expectsContinue
        // What follows an upgrade is no HTTP any more for the parser, and we know no other protocol.
        if !head.isKeepAlive || head.version != .http1_1 || head.method == .CONNECT || head.headers.contains(name: "upgrade") {
            lastRequest = requests
        }
        return true
    }

    mutating func bodyArrived(_ count: Int) {
        awaitsContinue = false
        receivedBody += count
    }

    mutating func requestEnded(now: NIODeadline) {
        guard stage == .open else { return }
        reading = .idle
        since = now
    }

    /// Whether to send `100 Continue`: the body will be read, and the peer waits to hear so.
    mutating func readsBody(now: NIODeadline) -> Bool {
        guard awaitsContinue, stage == .open, !isAnswering else { return false }
        awaitsContinue = false
        since = now
        return true
    }

    /// Bytes arrived that nobody looks at. Too many end the connection, also before the answers that it still waits for.
    mutating func discarded(_ count: Int) -> Action {
        drained += count
        return stage != .closed && drained > limits.drainedBytes ? close() : .none
    }

    // MARK: - Answering

    /// Whether the answer, whose head is to be written, is the connection's last.
    mutating func answerBegins(endsConnection: Bool) -> Bool {
        isAnswering = true
        let number = answers + 1
        let isBeingRead = number == requests && reading == .body
        if endsConnection || (isBeingRead && (awaitsContinue || unreadBody > limits.unreadBodyBytes)) { lastRequest = number }
        return lastRequest == number
    }

    private var unreadBody: Int { expectedBody.map { $0 - receivedBody } ?? .max }

    mutating func answerEnded(now: NIODeadline) -> Action {
        isAnswering = false
        answers += 1
        if reading == .idle { since = now }
        if let pending, pending.after == answers { return end(.refuse(pending.refusal), now: now) }
        return lastRequest == answers ? end(.finish, now: now) : .none
    }

    // MARK: - Ending

    /// What arrived cannot be answered as a request.
    mutating func fail(_ refusal: Refusal, now: NIODeadline) -> Action {
        guard !ignoresInput else { return .none }
        // A request whose body breaks off is the one to be answered so, unless it has its answer already.
        let before = reading == .body ? requests - 1 : requests
        if reading == .body, answers == requests { return end(.finish, now: now) }
        if reading == .body, answers == before, isAnswering { return close() }
        if answers == before { return end(.refuse(refusal), now: now) }
        pending = (refusal, before)
        return .none
    }

    private mutating func end(_ action: Action, now: NIODeadline) -> Action {
        stage = .ending
        since = now
        return action
    }

    mutating func close() -> Action {
        stage = .closed
        return .close
    }

    /// The peer sends no more.
    mutating func inputClosed() -> Action { stage == .ending ? close() : .none }

    // MARK: - Time

    /// When ``expire(now:)`` has something to do; nil while this process is at work, also where a refusal waits for that.
    var deadline: NIODeadline? {
        switch (stage, reading) {
        case (.closed, _): nil
        case (.ending, _): since + limits.drainTime
        case (.open, _) where ignoresInput: nil
        case (.open, .head): since + limits.readTimeout
        // As long as it comes at a bearable speed, a long body may take long.
        case (.open, .body): since + limits.readTimeout + .seconds(Int64(receivedBody / limits.bodyBytesPerSecond))
        case (.open, .idle): answers == requests ? since + limits.idleTimeout : nil
        }
    }

    mutating func expire(now: NIODeadline) -> Action {
        guard let deadline, now >= deadline else { return .none }
        if stage == .open, reading != .idle { return fail(.tooSlow, now: now) }
        return close()
    }
}

extension HTTPRequestHead {
    fileprivate var expectsContinue: Bool {
        headers[canonicalForm: "expect"].contains { $0.lowercased() == "100-continue" }
    }
}
