import Holdfast
import HoldfastStore

extension Workload {
    /// Reads everything when all is quiet again.
    public func examine() async {
        do throws(StoreError) {
            for key in Self.keys {
                guard let value = try await services.cache.get(key, as: Int.self).value else { continue }
                note { $0.readAtEnd(value, of: key, name) }
            }
            for id in note({ $0.ids }) { try await examine(id) }
            for user in Self.users + ["caller"] {
                let page = try await services.sessions.list(userID: user, limit: 200)
                note { $0.listed(page.sessions.map(\.id), of: user, name) }
            }
            try await examineLimits()
            let count = Int(try await services.failover.server?(.get(Self.counter))?.integer ?? 0)
            note { $0.countedInTheEnd(count, name) }
            note { $0.answeredInTheEnd() }
        } catch {
            note { $0.violated("error: \(name.name) cannot be examined: \(error)") }
        }
    }

    private func examine(_ id: SessionID) async throws(StoreError) {
        do throws(StoreError) {
            let session = try await services.sessions.get(id).value
            note { $0.readAtEnd(session, id, name, at: services.failover.time.now) }
        } catch {
            // Its process may be gone, and what it had not handed over with it.
            guard error.code == .unavailable else { throw error }
            note { $0.readAtEnd(nil, id, name, at: services.failover.time.now) }
        }
    }
}
