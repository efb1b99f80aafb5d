import Holdfast
import HoldfastStore

extension Workload {
    /// Longer than any session stays by being used.
    static let extensionSpan = Duration.seconds(12 * 3600)

    // MARK: - Beginning

    func create(_ user: String) async throws(StoreError) {
        let began = note { $0.now() }
        let session = try await services.sessions.create(userID: user, kind: .conversation)
        note { $0.created(session, by: name, began: began) }
    }

    func create(_ user: String, once operation: OperationID) async throws(StoreError) {
        let began = note { $0.now() }
        let session = try await repeatedly { () throws(StoreError) in
            try await services.sessions.create(userID: user, kind: .conversation, once: operation)
        }
        note { $0.created(session, by: name, began: began) }
    }

    // MARK: - Reading

    func read(_ id: SessionID, touch: Bool = true) async throws(StoreError) {
        let began = note { $0.now() }
        let decided = try await services.sessions.get(id, touch: touch)
        note { $0.read(decided.value, id, by: decided.by, name, began: began, at: services.failover.time.now) }
    }

    // MARK: - Changing

    func update(_ id: SessionID, _ field: String) async throws(StoreError) {
        let began = note { $0.now() }
        let session = try await services.sessions.update(id, set: [field: true])
        tell("session \(id.text) has \(field) by \(session.by)")
        note { $0.changed(session, field: field, by: name, began: began) }
    }

    /// A field that all change: to a value of its own, or it is removed.
    func update(_ id: SessionID, shared field: String, to value: Int64?) async throws(StoreError) {
        let change = note { $0.beginsToChange(id, field, to: value, name, at: uptime) }
        do throws(StoreError) {
            let set: [String: JSONValue] = value.map { [field: .integer($0)] } ?? [:]
            let session = try await services.sessions.update(id, set: set, remove: value == nil ? [field] : [])
            tell("session \(id.text) has \(field) = \(value.map { "\($0)" } ?? "nothing") by \(session.by)")
            note { $0.changed(session, change, at: uptime) }
        } catch {
            if error.effect == .none { note { $0.hasNotChanged(change) } }
            throw error
        }
    }

    /// A field of its own, which stays; or one of two that all change, in one of three times by its removal.
    func update(_ id: SessionID, _ random: RandomSource) async throws(StoreError) {
        var random = random
        if Bool.random(using: &random) { return try await update(id, "f\(random.next())") }
        // Of a few sessions, so that changes meet.
        let id = note { $0.ids(of: $0.user(of: id)) }.prefix(2).randomElement(using: &random) ?? id
        let isRemoval = Int.random(in: 0..<3, using: &random) == 0
        let field = Bool.random(using: &random) ? "shared:a" : "shared:b"
        try await update(id, shared: field, to: isRemoval ? nil : Int64(random.next() >> 16))
    }

    /// As a careful caller does: again under the same name while the outcome is unknown.
    func append(_ id: SessionID, _ message: String) async throws(StoreError) {
        let operation = OperationID(high: random(), low: random())
        let began = note { $0.beginsToAppend(message, to: id) }
        let session = try await repeatedly { () throws(StoreError) in
            let messages = [NewSessionMessage(role: "user", content: .string(message))]
            return try await services.sessions.append(messages, to: id, once: operation)
        }
        note { $0.appended(session, message: message, by: name, began: began) }
    }

    func extend(_ id: SessionID, once operation: OperationID?) async throws(StoreError) {
        let began = note { $0.beginsToExtend(id) }
        var outcome = Ledger.ExtensionOutcome.unknown
        defer { note { $0.extended(id, outcome, at: services.failover.time.now, by: Self.extensionSpan, name, began: began) } }
        do throws(StoreError) {
            let session = try await services.sessions.extend(id, by: Self.extensionSpan, once: operation)
            outcome = .done(session, operation)
            tell("session \(id.text) is extended to \(session.expires) by \(session.by)\(operation.map { " as \($0)" } ?? "")")
        } catch {
            if error.effect == .none { outcome = .refused }
            tell("session \(id.text) may be extended: \(error.effect), \(error)")
            throw error
        }
    }

    /// A repetition of an operation that was acknowledged before.
    func extendAgain(_ random: UInt64) async throws(StoreError) {
        guard let (id, operation) = note({ $0.anExtension(random) }) else { return }
        let began = note { $0.beginsToExtend(id) }
        defer {
            let now = services.failover.time.now
            note { $0.extended(id, .repeated(operation), at: now, by: Self.extensionSpan, name, began: began) }
        }
        tell("session \(id.text) was extended before, and is again as \(operation)")
        let session = try await services.sessions.extend(id, by: Self.extensionSpan, once: operation)
        tell("session \(id.text) has been extended to \(session.expires) by \(session.by)")
    }

    func rotate(_ id: SessionID, once operation: OperationID?) async throws(StoreError) {
        let began = note { $0.beginsToEnd([id]) }
        let session: Session
        do throws(StoreError) {
            if let operation {
                session = try await repeatedly { () throws(StoreError) in try await services.sessions.rotate(id, once: operation)
                }
            } else {
                session = try await services.sessions.rotate(id)
            }
        } catch {
            // The old id stays valid then.
            if operation == nil, error.effect == .none { note { $0.hasNotEnded([id], began) } }
            throw error
        }
        tell("session \(id.text) is now \(session.id.text), until \(session.expires)")
        note { $0.rotated(id, to: session, by: name, began: began) }
    }

    // MARK: - Ending

    func end(_ id: SessionID) async throws(StoreError) {
        let began = note { $0.beginsToEnd([id]) }
        let decided = try await services.sessions.delete(id)
        // "There was none" is no promise.
        if decided.value { note { $0.ended([id], by: name, decided.by, began: began) } }
    }

    /// As the holder of a session does, who is known here.
    func endOthers(_ id: SessionID) async throws(StoreError) {
        if try await services.sessions.get(id).value == nil { return }
        note { $0.keeps(id) }
        try await endAll(note { $0.user(of: id) }, keeping: id)
    }

    func endAll(_ user: String, keeping kept: SessionID? = nil) async throws(StoreError) {
        let ids = note { $0.ids(of: user) }.filter { $0 != kept }
        let moment = services.failover.time.now
        let number = note { $0.beginsToEndAll(of: user) }
        let began = note { $0.beginsToEnd(ids) }
        defer {
            // What was created meanwhile may be met too.
            _ = note { ledger in ledger.beginsToEnd(ledger.ids(of: user).filter { !ids.contains($0) && $0 != kept }) }
            note { $0.endsAll(of: user, number, at: services.failover.time.now) }
        }
        let decider = try await services.sessions.revokeAll(userID: user, keeping: kept).by
        tell("all of \(user) but \(kept?.text ?? "none") have ended by \(decider)")
        // One that had the id before stays, but where a process that is cut off has seen it and takes it for another one.
        let successors = note { ledger in ids.filter { ledger.isSuccessor($0, of: kept) } }
        if !decider.isLocal { note { $0.hasNotEnded(successors, began) } }
        note { $0.ended(ids.filter { !successors.contains($0) }, by: name, decider, began: began, ofAllAt: moment) }
    }
}
