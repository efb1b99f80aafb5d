import HoldfastStore

/// The markers of charges whose callers gave no name and have their answer, or have left: nobody asks any more whether they have happened.
///
/// Such a marker is written for as long as an outage may last, because its reply may be the one that is lost; once the reply is here it is
/// of no use. Removing it with the next charge would need another shape of the procedure; so markers are gathered here and removed together,
/// after each ping and whenever there are many, and the server holds those of about a second instead of those of seven days. No caller waits
/// for it. One that is not removed, because this process ends or too many are gathered while the server fails, ends by itself.
final class AnsweredMarkers: Sendable {
    /// How many are gathered. Past it the oldest are left to the server.
    static let maximum = 10_000
    /// How many are removed in one call.
    static let batch = 256

    private let gathered = Locked<[Key]>([])
    private let work: SerialWork

    init(time: any TimeSource) { work = SerialWork(time: time) }

    var count: Int { gathered.withLock { $0.count } }

    /// Gathers one, and begins to remove them where there are enough for a call.
    func add(_ marker: Key, on server: any Store) {
        let isEnough = gathered.withLock { gathered in
            if gathered.count >= Self.maximum { gathered.removeFirst(Self.batch) }
            gathered.append(marker)
            // Not at each further one, where the server does not take the call.
            return gathered.count.isMultiple(of: Self.batch)
        }
        guard isEnough, work.count == 0 else { return }
        work.begin { try? await self.removeAll(on: server) }
    }

    /// Removes what is gathered. What fails stays for the next time.
    func removeAll(on server: any Store) async throws(StoreError) {
        while case let keys = take(), !keys.isEmpty {
            do throws(StoreError) {
                _ = try await server(.del(keys))
            } catch {
                gathered.withLock { $0 = (keys + $0).suffix(Self.maximum) }
                throw error
            }
        }
    }

    private func take() -> [Key] {
        gathered.withLock { gathered in
            let keys = Array(gathered.prefix(Self.batch))
            gathered.removeFirst(keys.count)
            return keys
        }
    }
}
