import HoldfastStore

/// Asks the server to tell of changes to the cache's keys: from the first that is to be kept near, and of each tenant from its first.
///
/// At most ``maximumPrefixes`` tenants: a server compares each written key with each prefix. The values of further ones have their short
/// time, as everywhere without tracking.
final class CacheCoverage: Sendable {
    private struct State {
        var prefixes: Set<Bytes> = []
        var hasBegun = false
        var handle: ChangeTrackingHandle?
    }

    private enum Step { case nothing, begin, add(ChangeTrackingHandle) }

    static let maximumPrefixes = 32

    /// Nil where nobody tells, or nothing is kept near.
    private let source: (any ChangeTracking)?
    private let interval: Duration
    private let state = Locked(State())

    init(_ server: (any Store)?, _ configuration: NearCacheConfiguration) {
        let keepsAny = configuration.entries > 0 && configuration.ttl > .zero
        source = keepsAny ? server as? any ChangeTracking : nil
        // Of five confirmations in the time that one is good for, four may be late.
        interval = configuration.ttl / 5
    }

    deinit { state.withLock { $0.handle }?.end() }

    /// - Parameter observer: who hears; asked for once.
    func include(_ prefix: Bytes, _ observer: () -> @Sendable (KeyChangeEvent) -> Void) {
        guard let source else { return }
        let step = state.withLock { state -> Step in
            guard !state.prefixes.contains(prefix), state.prefixes.count < Self.maximumPrefixes else { return .nothing }
            state.prefixes.insert(prefix)
            defer { state.hasBegun = true }
            return state.hasBegun ? state.handle.map(Step.add) ?? .nothing : .begin
        }
        switch step {
        case .nothing: break
        case .add(let handle): handle.add(prefix)
        case .begin:
            let handle = source.trackChanges(of: [prefix], confirmingEvery: interval, observer())
            let others = state.withLock { state in
                state.handle = handle
                return state.prefixes.subtracting([prefix])
            }
            for other in others { handle?.add(other) }
        }
    }
}
