/// Which slot table may take the place of the one that is there: a value.
///
/// A node that was cut off, or lags behind, tells an older table. Where only such nodes answer in time the one that is there stays, so that
/// what MOVED and newer nodes have told is not unlearnt. Not for ever: a cluster that was made anew counts from the beginning.
struct Succession {
    /// For how long only older tables must have been told until one of them counts.
    static let patience: UInt64 = 5_000_000_000

    private var olderSince: UInt64?

    /// - Parameters:
    ///   - epoch: of the table that was told.
    ///   - present: of the one that is there; nil where there is none.
    ///   - isCertain: whether all who were asked have answered.
    mutating func follows(_ epoch: Int64, after present: Int64?, isCertain: Bool, now: UInt64) -> Bool {
        guard let present, epoch < present, !isCertain else {
            olderSince = nil
            return true
        }
        let since = olderSince ?? now
        olderSince = since
        guard now &- since >= Self.patience else { return false }
        olderSince = nil
        return true
    }
}
