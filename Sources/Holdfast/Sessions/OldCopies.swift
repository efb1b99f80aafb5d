import HoldfastStore

/// Removes from the local store what is left there of earlier epochs (``SessionsHere``).
///
/// A single failed call leaves a copy here, and the hand-over that follows ends its epoch. Nothing evicts such a copy, and it ends by
/// itself only with its session. So a pass over the local store begins when the epoch has changed; it goes on in bounded steps, one
/// with each ping that the server answers, because the store may hold a million entries of the cache beside it. One task at a time
/// is at it; who comes meanwhile leaves.
///
/// A call that began in an earlier epoch may write a copy behind the pass. The pass of the next epoch meets it.
final class OldCopies: Sendable {
    /// How many pages of ``pageSize`` entries one step looks at: 10,000 entries.
    static let pagesInAStep = 20
    static let pageSize = 500

    private struct State {
        var isBusy = false
        /// Until which epoch all have been removed.
        var removed = 0
        /// The pass that is under way: the epoch at its beginning, and where it goes on.
        var pass: (epoch: Int, cursor: UInt64)?
    }

    private let local: any Store
    private let state = Locked(State())

    init(in local: any Store) { self.local = local }

    /// One step. Costs a look at two numbers where there is nothing to do. What fails is tried again with the next step.
    func removeSome(before epoch: Int) async { await remove(before: epoch, pages: Self.pagesInAStep) }

    /// The rest of the pass, or a whole one.
    func removeAll(before epoch: Int) async { await remove(before: epoch, pages: .max) }

    private func remove(before epoch: Int, pages: Int) async {
        guard var pass = begin(epoch) else { return }
        let options = ScanOptions(match: "away:*", count: Self.pageSize)
        var (left, isDone) = (pages, false)
        do throws(StoreError) {
            while left > 0, !isDone, !Task.isCancelled {
                let page = try await local(Command<ScanPage<Key>>.scan(pass.cursor, options))
                let old = page.elements.filter { SessionsHere.epoch(of: $0) ?? .max < epoch }
                if !old.isEmpty { _ = try await local(.unlink(old)) }
                (pass.cursor, left, isDone) = (page.cursor, left - 1, page.cursor == 0)
            }
        } catch {}
        state.withLock { [pass, isDone] state in
            state.isBusy = false
            if isDone { state.removed = pass.epoch }
            state.pass = isDone ? nil : pass
        }
    }

    /// - Returns: nil where there is nothing to do, or somebody is at it.
    private func begin(_ epoch: Int) -> (epoch: Int, cursor: UInt64)? {
        state.withLock { state in
            guard !state.isBusy, state.removed < epoch else { return nil }
            state.isBusy = true
            return state.pass ?? (epoch, 0)
        }
    }
}
