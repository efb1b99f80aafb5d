import NIOCore

/// What a connection may take of this process.
struct ConnectionLimits: Sendable {
    /// How many may be open; one more is answered 503 and closed.
    var connections = 10_000
    /// What the parser takes of a URL, a header, and all of them together.
    var headerBytes = 32 * 1024
    /// One without a request is closed after this long.
    var idleTimeout: TimeAmount = .seconds(75)
    /// How long a request's head may take to arrive, and its body beyond what ``bodyBytesPerSecond`` grants; then it is answered 408.
    var readTimeout: TimeAmount = .seconds(15)
    var bodyBytesPerSecond = 4096
    /// A body that its answer did not wait for is read to its end on a connection that goes on, up to this size.
    var unreadBodyBytes = 64 * 1024
    /// How much is still read, and how long, after the last answer.
    var drainedBytes = 16 * 1024 * 1024
    var drainTime: TimeAmount = .seconds(5)
}
