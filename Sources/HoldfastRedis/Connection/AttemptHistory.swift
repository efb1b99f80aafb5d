import HoldfastStore

/// What the attempts of one call have done so far, as far as anybody knows: that the last one was not even sent says nothing about those
/// before it.
struct AttemptHistory: Sendable {
    private(set) var mayHaveHappened = false

    mutating func add(_ error: StoreError) {
        if error.effect == .unknown { mayHaveHappened = true }
    }

    /// What the whole call ends with where its last attempt ended so.
    func end(with error: StoreError) -> StoreError {
        mayHaveHappened ? error.withUnknownEffect() : error
    }

    /// The same where the last attempt was answered with an error line; nil where that line is the whole truth.
    ///
    /// A server that is in no state to serve speaks of this attempt only, as it does where it refuses EXEC itself for that ("EXECABORT …
    /// because of: MISCONF …"). An error of the command itself holds for all of them.
    func end(with error: ReplyError) -> StoreError? {
        let failure = StoreError(error, scriptMayHaveRun: true)
        return mayHaveHappened && (failure.isServerFailure || error.prefix == "EXECABORT") ? failure : nil
    }

    /// The same for a pipeline, where the last attempt was answered so.
    func end(with replies: [Reply]) -> StoreError? {
        guard mayHaveHappened else { return nil }
        for case .error(let line) in replies {
            if let error = end(with: line) { return error }
        }
        return nil
    }

    /// What the whole call ends with where its last attempt ended so.
    func end(with last: Result<Reply, StoreError>) -> Result<Reply, StoreError> {
        if case .success(.error(let line)) = last, let error = end(with: line) { return .failure(error) }
        return last.mapError(end)
    }
}
