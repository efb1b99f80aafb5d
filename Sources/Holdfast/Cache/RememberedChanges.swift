import HoldfastStore

/// What became invalid while the server could not be told: removed there before any call of this cache goes to it again.
///
/// Bounded: when there is too much, the changes of each workspace collapse into "clear it", and those into "clear everything". That
/// costs recomputing, never a stale value.
final class RememberedChanges: Sendable {
    private struct State {
        /// With the number of its last occurrence.
        var changes: [CacheChange: UInt64] = [:]
        var turn: UInt64 = 0
    }

    private let limit: Int
    private let state = Locked(State())

    init(limit: Int = 10_000) { self.limit = max(2, limit) }

    var isEmpty: Bool { state.withLock { $0.changes.isEmpty } }
    var count: Int { state.withLock { $0.changes.count } }

    func remember(_ changes: [CacheChange]) {
        state.withLock { state in
            for change in changes {
                state.turn += 1
                let turn = state.turn
                if state.changes[.everything(prefix: change.prefix)] != nil {
                    state.changes[.everything(prefix: change.prefix)] = turn
                } else if let place = change.place, state.changes[.workspace(place)] != nil {
                    state.changes[.workspace(place)] = turn
                } else {
                    state.changes[change] = turn
                    if state.changes.count > limit { Self.collapse(&state, limit) }
                }
            }
        }
    }

    /// Removes from the server what is remembered, and forgets what was not changed again meanwhile.
    ///
    /// - Returns: what the server heard and is forgotten.
    /// - Throws: what the server answered; everything stays remembered then, and doing it twice does no harm.
    func settle(on server: any Store) async throws(StoreError) -> [CacheChange] {
        let changes = state.withLock { $0.changes }
        if changes.isEmpty { return [] }
        var unlinks: [Command<Int>] = []
        for change in changes.keys {
            if case .entry(let place, let name) = change {
                let entry = place.entry(name)
                unlinks.append(.unlink([CachePlace.lease(of: entry)]))
                unlinks.append(.unlink([entry]))
            } else {
                _ = try await change.remove(from: server)
            }
        }
        for start in stride(from: 0, to: unlinks.count, by: 1000) {
            _ = try await server.pipeline(Array(unlinks[start..<min(start + 1000, unlinks.count)]))
        }
        return state.withLock { state in
            let settled = changes.filter { state.changes[$0.key] == $0.value }.map(\.key)
            for change in settled { state.changes[change] = nil }
            return settled
        }
    }

    private static func collapse(_ state: inout State, _ limit: Int) {
        let turn = state.turn
        let places = Set(state.changes.keys.compactMap(\.place))
        let prefixes = Set(state.changes.keys.map(\.prefix))
        if places.count <= limit / 2 {
            let cleared = state.changes.keys.filter { $0.place == nil }
            state.changes = Dictionary(uniqueKeysWithValues: places.map { (.workspace($0), turn) } + cleared.map { ($0, turn) })
        } else {
            state.changes = Dictionary(uniqueKeysWithValues: prefixes.map { (.everything(prefix: $0), turn) })
        }
    }
}
