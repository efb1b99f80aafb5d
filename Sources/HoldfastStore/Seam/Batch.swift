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

    public init(_ mode: Mode, _ operations: [Operation]) {
        self.mode = mode
        self.operations = operations
    }
}
