import Holdfast
import HoldfastRedis
import HoldfastStore

/// How the near cache of a process learns of what others change: asks the server to tell of changes, as `serve` does, and looks whether it
/// does.
struct NearCacheExamination {
    let store: RedisStore
    let grant: Grant

    private static let bound = NearCacheConfiguration().ttl.formatted
    /// A connection of its own, and a few words over it.
    private var patience: Duration { store.configuration.connectTimeout + store.configuration.commandTimeout }

    /// What is said where nobody tells of changes, and that is so by design.
    static func timed(_ reason: String) -> Finding {
        .right("Near cache", "\(reason): each value is served for \(bound) at most")
    }

    func finding() async -> Finding {
        let mode = store.configuration.clientTracking
        let (events, door) = AsyncStream.makeStream(of: KeyChangeEvent.self)
        guard
            let handle = store.trackChanges(of: [Bytes(grant.namespace.prefix)], confirmingEvery: .seconds(1), { door.yield($0) })
        else {
            return Self.timed(mode == .off ? "REDIS_CLIENT_TRACKING=off" : "replicas answer reads")
        }
        let answer = await answer(events)
        handle.end()
        switch answer {
        case .success:
            return .right(
                "Near cache",
                "the server tells of changes (\(mode)): they are seen with its message, after \(Self.bound) at the latest")
        case .failure(let error):
            return .doubtful(
                "Near cache",
                "the server does not tell of changes (\(grant.line(error))): each value is served for \(Self.bound) at most; "
                    + "REDIS_CLIENT_TRACKING=off would not ask")
        }
    }

    private func answer(_ events: AsyncStream<KeyChangeEvent>) async -> Result<Void, StoreError> {
        await withTaskGroup(of: Result<Void, StoreError>.self) { group in
            group.addTask {
                for await event in events {
                    switch event {
                    case .established: return .success(())
                    case .unavailable(let error): return .failure(error)
                    default: continue
                    }
                }
                return .failure(StoreError(.cancelled))
            }
            group.addTask {
                try? await Task.sleep(for: patience)
                return .failure(StoreError(.timeout, "no answer within \(patience.formatted)"))
            }
            defer { group.cancelAll() }
            return await group.next() ?? .failure(StoreError(.cancelled))
        }
    }
}

extension Duration {
    fileprivate var formatted: String { "\(components.seconds) s" }
}
