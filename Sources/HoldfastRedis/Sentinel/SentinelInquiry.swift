import HoldfastStore

/// The answers of several sentinels to one question, as a value: when they are enough, and which counts.
///
/// The answer of the highest epoch counts; a majority would lag behind a promotion by the up to two seconds that sentinels take to tell
/// each other. Where no one answers, the most telling failure does: a refusal of credentials goes before an address where nobody is.
struct SentinelInquiry {
    private(set) var awaited: Int
    private(set) var best: SentinelAnswer?
    private(set) var learned: [RedisConfiguration.Node] = []
    private var failure: StoreError?

    init(asked: Int) { awaited = asked }

    var isComplete: Bool { awaited == 0 }

    mutating func receive(_ result: Result<SentinelAnswer, StoreError>) {
        awaited -= 1
        switch result {
        case .success(let answer):
            learned += answer.sentinels
            if best.map({ $0.epoch < answer.epoch }) ?? true { best = answer }
        case .failure(let error):
            if failure.map({ $0.code != .serverRefused }) ?? true { failure = error }
        }
    }

    func outcome() throws(StoreError) -> SentinelAnswer {
        if let best { return best }
        guard let failure else { throw StoreError(.connectionFailed, "No sentinel answered in time") }
        // Nothing of the caller's was sent.
        let code: ErrorCode = failure.code == .serverRefused ? .serverRefused : .connectionFailed
        throw StoreError(code, "No sentinel knows the primary; one says: \(failure.message)")
    }
}
