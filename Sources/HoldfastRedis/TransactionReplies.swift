import HoldfastStore

/// The replies to MULTI, the commands, and EXEC.
enum TransactionReplies {
    /// What EXEC answered. A transaction that was refused while it was queued has done nothing; its first refusal says why.
    static func results(_ replies: [Reply], count: Int) throws(StoreError) -> [Reply] {
        if case .error(let error)? = replies.first {
            // Without MULTI what followed was carried out on its own, or not.
            throw StoreError(error, operation: "MULTI").withUnknownEffect()
        }
        switch replies.last {
        case .array(let results)? where results.count == count: return results
        case .null?: throw StoreError(.conflict, "A watched key was changed meanwhile; nothing was done", operation: "EXEC")
        case .error(let error)?:
            for case .error(let refusal) in replies.dropLast() { throw StoreError(refusal, operation: "transaction") }
            throw StoreError(error, operation: "EXEC")
        default: throw StoreError(.unexpectedReply, effect: .unknown, operation: "EXEC")
        }
    }

    /// The error line by which the whole was refused, nothing of it having been done: the first of a command that was not queued, or
    /// EXEC's own. Nil where there is none, or MULTI itself failed.
    static func refusal(_ replies: [Reply]) -> ReplyError? {
        guard let multi = replies.first, multi.refusal == nil, let exec = replies.last?.refusal else { return nil }
        return replies.dropFirst().dropLast().lazy.compactMap(\.refusal).first ?? exec
    }
}
