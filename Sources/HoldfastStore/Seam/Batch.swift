/// Several operations that travel together and are answered in order.
public struct Batch: Sendable {
    public enum Mode: Sendable {
        /// One trip; each operation stands for itself, and others may run in between.
        case pipeline
        /// One trip, and nothing else runs in between (MULTI/EXEC). An operation that fails does not undo the others.
        case transaction
    }

    public let mode: Mode
    public let operations: [Operation]

    /// Most that the replies to a transaction may add up to (``Reply/size``); nil for whatever they come to. Behind the reply that is one too
    /// many, what changes nothing is not carried out, and answered ``ReplyError/repliesTooLarge(_:)``; writes are carried out all the same.
    ///
    /// The store in this process keeps to it, because everybody waits for its lock meanwhile. A server knows no such bound.
    package var maximumReplyBytes: Int?

    public init(_ mode: Mode, _ operations: [Operation]) {
        self.mode = mode
        self.operations = operations
    }
}

extension ReplyError {
    package static func repliesTooLarge(_ limit: Int) -> ReplyError {
        ReplyError("ERR max response size exceeded. Limit: \(limit) bytes")
    }
}
