import HoldfastStore

/// A store that answers some operations by itself, as a test says; those of a batch one by one.
final class AnsweringStore: Store {
    private let base: any Store
    private let answer: @Sendable (Operation) -> Reply?

    /// - Parameter answer: nil for what the base is to carry out.
    init(_ base: any Store, _ answer: @escaping @Sendable (Operation) -> Reply?) { (self.base, self.answer) = (base, answer) }

    /// Has room for so many more SETs.
    static func full(_ base: any Store, after room: Int) -> AnsweringStore {
        let room = Locked(room)
        return AnsweringStore(base) { operation in
            guard operation.name == "SET" else { return nil }
            let hasRoom = room.withLock { room in
                room -= 1
                return room >= 0
            }
            return hasRoom ? nil : .error(.outOfMemory)
        }
    }

    /// Takes what is added, and loses what is removed: the folder of a process that dies before it notes what it has done.
    static func frozen(_ base: any Store) -> AnsweringStore { AnsweringStore(base) { $0.name == "HDEL" ? .integer(1) : nil } }

    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        if let reply = answer(operation) { return reply }
        return try await base.execute(operation)
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        var replies: [Reply] = []
        for operation in batch.operations { replies.append(try await execute(operation)) }
        return replies
    }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output { try await base.run(procedure) }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        try await base.withSubscription(to: channels, whenFull: overflow, body)
    }
}
