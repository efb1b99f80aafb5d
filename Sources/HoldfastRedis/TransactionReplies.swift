import HoldfastStore

/// The replies to MULTI, the commands, and EXEC.
enum TransactionReplies {
    /// What EXEC answered. A transaction that was refused while it was queued has done nothing; its first refusal says why.
    static func results(_ replies: [Reply], count: Int) throws(StoreError) -> [Reply] {
        if case .error(let error)? = replies.first {
            // Without MULTI what followed was carried out on its own, or not.
            throw StoreError(StoreError(error).code, error.line, effect: .unknown, operation: "MULTI")
        }
        switch replies.last {
        case .array(let results)? where results.count == count: return results
        case .error(let error)?:
            for case .error(let refusal) in replies.dropLast() { throw StoreError(refusal, operation: "transaction") }
            throw StoreError(error, operation: "EXEC")
        default: throw StoreError(.unexpectedReply, effect: .unknown, operation: "EXEC")
        }
    }
}
