/// How entries of one kind are carried out on the server, once it is back.
///
/// **Exactly once is the action's part.** An entry is carried out again where its reply was lost or this process died before it noted
/// that it was done; so an action must have the effect of one run however often it runs: because it sets absolute values, merges by
/// stamp or removes, or because its step on the server leaves a marker in the same slot and looks for it first. An additive operation
/// bears its marker from its very first send, because that reply can be lost before anybody knows of an outage.
public struct ReplayAction: Sendable {
    public typealias Step = @Sendable (_ entry: OutboxEntry, _ store: any Store) async throws(StoreError) -> Void

    /// A name and a version, such as `session.merge@1`. What an older version accepted stays replayable for one minor release.
    public let identifier: String
    /// Whether it is right however long it waited: it removes, and needs no marker that may have ended.
    let endures: Bool
    /// On the server.
    let carryOut: Step
    /// In this process, after a restart while the server is still away: so that what was accepted is seen here. The store is the local
    /// one.
    let recall: Step

    public init(
        _ identifier: String, endures: Bool = false, recall: @escaping Step = { _, _ throws(StoreError) in },
        carryOut: @escaping Step
    ) {
        self.identifier = identifier
        self.endures = endures
        self.carryOut = carryOut
        self.recall = recall
    }
}
