import HoldfastTesting
import Testing

@testable import HoldfastStore

/// Writes whose outcome is kept, to be compared with what a disk still has.
///
/// Write number n of a writer is a transaction of three changes, so that a part of one is seen: `a:n`, `b:n`, and n at the end of
/// the list `order`.
final class JournalLedger: Sendable {
    struct Entries: Sendable {
        var acknowledged: Set<String> = []
        /// Answered by an error that says that nothing was changed.
        var refused: Set<String> = []
        /// Answered by an error that does not know.
        var unknown: Set<String> = []
    }

    private let entries = Locked(Entries())

    var now: Entries { entries.withLock { $0 } }

    /// What was written before there was this ledger.
    func acknowledge(_ id: String) { _ = entries.withLock { $0.acknowledged.insert(id) } }

    func write(_ id: String, to store: EmbeddedStore) async {
        let (a, b) = (Key(raw: Bytes("a:\(id)")), Key(raw: Bytes("b:\(id)")))
        do throws(StoreError) {
            _ = try await store.execute(
                Batch(
                    .transaction,
                    [
                        .strings(.set(a, "1", SetOptions())), .strings(.set(b, "2", SetOptions())),
                        .lists(.rpush(Key(raw: "order"), [Bytes(id)])),
                    ]))
            _ = entries.withLock { $0.acknowledged.insert(id) }
        } catch {
            if error.code != .storageFailed { Issue.record("\(id): \(error)") }
            entries.withLock { entries in
                _ = error.effect == .none ? entries.refused.insert(id) : entries.unknown.insert(id)
            }
        }
    }
}

/// The writes that a store holds.
struct JournalRemains: Equatable {
    /// In the order in which they were carried out.
    let order: [String]
    let isWhole: Bool

    init(_ store: EmbeddedStore) {
        let items = store.contents.items
        var order: [String] = []
        if case .list(let elements)? = items[Key(raw: "order")]?.content { order = elements.map(\.lossyString) }
        self.order = order
        let kept = Set(order)
        let keys = Set(items.keys.map(\.bytes.lossyString)).subtracting(["order"])
        isWhole = keys == Set(kept.flatMap { ["a:\($0)", "b:\($0)"] }) && kept.count == order.count
    }

    /// What is missing although it was acknowledged, or there although it was refused.
    func faults(_ entries: JournalLedger.Entries) -> [String] {
        let kept = Set(order)
        return entries.acknowledged.subtracting(kept).sorted().map { "\($0) was acknowledged and is missing" }
            + entries.refused.intersection(kept).sorted().map { "\($0) was refused and is there" }
            + (isWhole ? [] : ["a part of a transaction is there"])
    }
}

extension SimulatedFolder {
    /// What a store finds in the folder; the folder is in order, or a test fails.
    func remains(_ comment: String) async throws -> JournalRemains? {
        do {
            let store = try await EmbeddedStore.open(in: self)
            let remains = JournalRemains(store)
            try await store.close()
            return remains
        } catch {
            Issue.record("\(comment): \(error)")
            return nil
        }
    }
}
