import HoldfastStore

/// The answers of several servers to one question, as a value: when they are enough, and which counts.
///
/// The answer of the highest epoch counts: a majority would lag behind a failover by the time that servers take to tell each other, and
/// the first may come from one that was cut off. An answer of a negative epoch counts only where there is no other, and others are waited
/// for as long as without it. Where no one answers, the most telling failure does: a refusal of credentials goes
/// before an address where nobody is.
struct Inquiry<Answer: Sendable>: Sendable {
    typealias Node = RedisConfiguration.Node

    private(set) var awaited: Int
    private(set) var best: (answer: Answer, epoch: Int64)?
    private(set) var failure: StoreError?

    /// How long the others are waited for once one has answered.
    private static var grace: Duration { .milliseconds(250) }

    init(asked: Int) { awaited = asked }

    var isComplete: Bool { awaited == 0 }

    mutating func receive(_ result: Result<Answer, StoreError>, epoch: (Answer) -> Int64) {
        awaited -= 1
        switch result {
        case .success(let answer):
            let epoch = epoch(answer)
            if best.map({ $0.epoch < epoch }) ?? true { best = (answer, epoch) }
        case .failure(let error):
            if failure.map({ $0.code != .serverRefused }) ?? true { failure = error }
        }
    }

    /// Asks all at once, and waits for all, or for a moment once one has answered.
    static func of(
        _ nodes: [Node], epoch: @Sendable (Answer) -> Int64, ask: @escaping @Sendable (Node) async -> Result<Answer, StoreError>
    ) async -> Inquiry {
        await withTaskGroup(of: Result<Answer, StoreError>?.self) { group in
            for node in nodes { group.addTask { await ask(node) } }
            var inquiry = Inquiry(asked: nodes.count)
            var hasTimer = false
            while !inquiry.isComplete, let result = await group.next() {
                // Nil is the timer's.
                guard let result else { break }
                inquiry.receive(result, epoch: epoch)
                guard let best = inquiry.best, best.epoch >= 0, !hasTimer else { continue }
                hasTimer = true
                group.addTask {
                    try? await Task.sleep(for: grace)
                    return nil
                }
            }
            group.cancelAll()
            return inquiry
        }
    }
}
