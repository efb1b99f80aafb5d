public import Holdfast
public import HoldfastStore

extension Workload {
    /// A session of this process's own, which nobody ends.
    public func witness() async throws(StoreError) -> SessionID {
        let began = note { $0.now() }
        let session = try await services.sessions.create(userID: "witness", kind: .conversation)
        note { $0.created(session, by: name, began: began) }
        return session.id
    }

    /// Whether the server has answered for a session just now: then there is a copy of it here.
    public func sees(_ id: SessionID) async throws(StoreError) -> Bool {
        try await services.sessions.get(id).value != nil && services.failover.localSince == nil
    }

    /// One of each that a process does whether the server is there or not.
    ///
    /// - Parameter seen: a session that this process has seen and that nobody has ended.
    /// - Throws: what keeps it from doing so.
    public func doesItsWork(with seen: SessionID) async throws(StoreError) {
        try await read(seen)
        try await update(seen, "f\(random())")
        try await append(seen, "m\(random())")
        try await extend(seen, once: nil)
        try await end(try await witness())
        try await charge(OperationID(high: random(), low: random()))
        try await chargeUnnamed()
        try await checkUnnamed()
        try await refund(nil)
        let key = "witness:\(name.number)"
        try await set(key)
        guard try await services.cache.get(key, as: Int.self).value != nil else {
            throw StoreError(.notFound, "What was written into the cache is not there", field: key)
        }
    }
}
