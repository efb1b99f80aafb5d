import Holdfast
import HoldfastStore

extension Workload {
    func set(_ key: String) async throws(StoreError) {
        let (value, began) = note { ($0.newValue(key, by: name, isFinished: false), $0.beginsToInvalidate([key], name)) }
        try await write(value, key, began) { (cache) throws(StoreError) in try await cache.set(key, value) }
    }

    /// Replaces the version that is there.
    func replace(_ key: String) async throws(StoreError) {
        guard let present = try await services.cache.getVersioned(key, as: Int.self).value else { return }
        let (value, began) = note { ($0.newValue(key, by: name, isFinished: false), $0.beginsToInvalidate([key], name)) }
        try await write(value, key, began) { (cache) throws(StoreError) in
            let write = try await cache.set(key, value, if: .version(present.version))
            note { $0.replaced(present.value, of: key, name, write.by) }
            return write
        }
    }

    func deleteVersion(_ key: String) async throws(StoreError) {
        guard let present = try await services.cache.getVersioned(key, as: Int.self).value else { return }
        try await invalidate([key]) { (cache) throws(StoreError) in
            let decider = try await cache.delete(key, if: .version(present.version)).by
            note { $0.replaced(present.value, of: key, name, decider) }
            return decider
        }
    }

    func exists(_ key: String) async throws(StoreError) {
        let look = Look(self)
        let decided = try await services.cache.exists(key)
        // Of what it has itself a process that is cut off knows the latest.
        if decided.value, !decided.by.isLocal { note { $0.exists(key, name, began: look.step) } }
    }

    private func write(
        _ value: Int, _ key: String, _ began: Ledger.Step, _ body: (Cache) async throws(StoreError) -> CacheWrite
    ) async throws(StoreError) {
        defer { note { $0.finished(value) } }
        do throws(StoreError) {
            let write = try await body(services.cache)
            note { $0.invalidated([key], name, by: write.by, began: began, at: uptime) }
        } catch {
            if error.effect == .none { note { $0.refused(value, name) } }
            throw error
        }
    }

    func setMany() async throws(StoreError) {
        let values = Self.keys.map { key in note { $0.newValue(key, by: name, isFinished: false) } }
        let began = note { $0.beginsToInvalidate(Self.keys, name) }
        defer { for value in values { note { $0.finished(value) } } }
        let entries = Dictionary(uniqueKeysWithValues: zip(Self.keys, values))
        let decided = try await services.cache.setMany(entries)
        note { $0.invalidated(Self.keys, name, by: decided.by, began: began, at: uptime) }
    }

    func get(_ key: String) async throws(StoreError) {
        let look = Look(self)
        if case .hit(let value, let source) = try await services.cache.get(key, as: Int.self) { found(value, key, source, look) }
    }

    func fill(_ key: String) async throws(StoreError) {
        let look = Look(self)
        let flight = note { $0.beginsFilling(key, name) }
        defer { note { $0.endsFilling(key, name, flight) } }
        do {
            let resolved = try await services.cache.resolve(key) {
                let value = note { $0.newValue(key, by: name, isFinished: true) }
                await factoryWork()
                return value
            }
            found(resolved.value, key, resolved.source, look, flight)
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(.cancelled)
        }
    }

    /// The beginning of a look into the cache.
    private struct Look {
        let step: Ledger.Step
        let uptime: Duration
        let wasAway: Bool

        init(_ workload: Workload) {
            step = workload.note { $0.now() }
            uptime = workload.uptime
            wasAway = workload.isAway
        }
    }

    private func found(_ value: Int, _ key: String, _ source: CacheSource, _ look: Look, _ flight: Ledger.Step? = nil) {
        note {
            $0.read(
                value, of: key, source, name, isAway: look.wasAway || isAway, began: look.step, flight: flight,
                at: look.uptime, nearTTL: services.cache.configuration.near.ttl)
        }
    }

    func invalidate(
        _ keys: [String], _ body: (Cache) async throws(StoreError) -> Decider
    ) async throws(StoreError) {
        let began = note { $0.beginsToInvalidate(keys, name) }
        let decider = try await body(services.cache)
        note { $0.invalidated(keys, name, by: decider, began: began, at: uptime) }
    }
}
