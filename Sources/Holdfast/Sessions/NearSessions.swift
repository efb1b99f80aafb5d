import HoldfastStore

/// Copies of the sessions that this process has seen, for reads while the server is away.
///
/// Bounded by two generations: when the young one is half full it becomes the old one and what was old is forgotten; a copy that is
/// used moves to the young one. So about the most recently used half to whole of the bound is kept, in O(1) a step.
///
/// Invariants:
/// 1. A copy never answers after its session's expiry, by the server's clock as it was when the copy was taken and by this process's
///    two clocks since, nor after the stale limit.
/// 2. What was dropped stays dropped: a read that began before the drop may come back after it, and its copy is refused
///    (``Ticket``). Otherwise a logout could be undone here by a slow read.
final class NearSessions: Sendable {
    /// Taken before the server is asked.
    struct Ticket: Sendable { fileprivate let epoch: UInt64 }

    struct Clocks: Sendable {
        let now: Timestamp
        let uptime: Duration

        init(_ time: any TimeSource) {
            now = time.now
            uptime = time.uptime
        }
    }

    private struct Copy: Sendable {
        let id: SessionID
        let userID: String
        let rank: Rank
        /// The session's fields and values by turns, as stored.
        let fields: Bytes
        let cost: Int
        let seen: Clocks
        /// How long the session had to live when it was seen.
        let remaining: Duration
    }

    private struct State {
        var young: [Key: Copy] = [:]
        var old: [Key: Copy] = [:]
        var youngCost = 0
        var epoch: UInt64 = 0
        /// When keys and users were last dropped; bounded like the copies.
        var drops: [Bytes: Drop] = [:]
        /// Drops up to this one may have been forgotten, so that no ticket from before it is accepted.
        var forgottenDrops: UInt64 = 0
        /// When everything was dropped last.
        var lastReturn: UInt64 = 0

        func isDropped(_ key: Key, _ index: Key, since ticket: Ticket) -> Bool {
            func isHit(by drop: Drop?) -> Bool { drop.map { $0.epoch > ticket.epoch && $0.except != key } ?? false }
            return ticket.epoch < forgottenDrops || isHit(by: drops[key.bytes]) || isHit(by: drops[index.bytes])
        }
    }

    private struct Drop {
        let epoch: UInt64
        /// The session of the user's that stayed.
        let except: Key?
    }

    private let limits: Sessions.NearCopies
    private let state = Locked(State())

    init(limits: Sessions.NearCopies) { self.limits = limits }

    func ticket() -> Ticket { Ticket(epoch: state.withLock { $0.epoch }) }

    /// Keeps what the server answered to a question that was asked after the ticket was taken.
    ///
    /// - Parameters:
    ///   - fields: the session as stored.
    ///   - serverNow: the server's time of the answer, so that its clock and ours need not agree.
    func keep(
        _ session: Session, _ fields: [Bytes], at key: Key, serverNow: Timestamp, ticket: Ticket, clocks: Clocks, index: Key
    ) {
        guard limits.entries > 0, limits.bytes > 0 else { return }
        let bytes = Bytes(ByteList.encode(fields))
        let copy = Copy(
            id: session.id, userID: session.userID, rank: Rank(session), fields: bytes, cost: bytes.count + 512, seen: clocks,
            remaining: session.expires - serverNow)
        state.withLock { state in
            guard ticket.epoch >= state.lastReturn, !state.isDropped(key, index, since: ticket) else { return }
            if let present = state.young[key] ?? state.old[key], present.rank > copy.rank { return }
            insert(copy, at: key, &state)
        }
    }

    /// Whether a session was dropped, by itself or with its user's others, after a ticket was taken, or nobody can tell any more.
    func isDropped(_ key: Key, index: Key, since ticket: Ticket) -> Bool {
        state.withLock { $0.isDropped(key, index, since: ticket) }
    }

    /// A copy that may still answer.
    struct Found: Sendable {
        /// Fields and values by turns, as stored.
        let fields: [Bytes]
        /// How long ago the server was asked.
        let age: Duration
        /// How long the session has to live yet.
        let remaining: Duration
    }

    /// The copy of a session; nil where there is none that may still answer.
    func copy(at key: Key, clocks: Clocks) -> Found? {
        state.withLock { state in
            let young = state.young[key]
            guard let copy = young ?? state.old[key] else { return nil }
            let age = max(clocks.uptime - copy.seen.uptime, clocks.now - copy.seen.now)
            guard age < copy.remaining, age <= limits.staleLimit, let fields = ByteList.decode(copy.fields) else {
                remove(key, &state)
                return nil
            }
            if young == nil { insert(copy, at: key, &state) }
            return Found(fields: fields, age: max(.zero, age), remaining: copy.remaining - age)
        }
    }

    /// The copy of a session as such, stale.
    func session(_ id: SessionID, at key: Key, clocks: Clocks) -> Session? {
        guard let found = copy(at: key, clocks: clocks), var session = SessionFields.session(id, found.fields) else { return nil }
        session.staleAge = found.age
        return session
    }

    /// Forgets a session, and what slow reads will bring of it.
    func drop(_ key: Key) {
        state.withLock { state in
            remove(key, &state)
            noteDrop(of: key.bytes, &state)
        }
    }

    /// Forgets all sessions of a user, and what slow reads will bring of them; answers which there were. Looks at every copy.
    @discardableResult
    func dropAll(ofUser userID: String, index: Key, isOwn: (Key) -> Bool, except kept: Key?) -> [SessionID] {
        state.withLock { state in
            var dropped: [SessionID] = []
            for (key, copy) in state.young.merging(state.old, uniquingKeysWith: { young, _ in young })
            where copy.userID == userID && key != kept && isOwn(key) {
                remove(key, &state)
                dropped.append(copy.id)
            }
            noteDrop(of: index.bytes, except: kept, &state)
            return dropped
        }
    }

    /// Forgets everything, and what slow reads will bring.
    func dropAll() {
        state.withLock { state in
            state.epoch += 1
            state = State(
                epoch: state.epoch, drops: state.drops, forgottenDrops: state.forgottenDrops, lastReturn: state.epoch)
        }
    }

    var count: Int { state.withLock { Set($0.young.keys).union($0.old.keys).count } }

    // MARK: - Under the lock

    private func insert(_ copy: Copy, at key: Key, _ state: inout State) {
        remove(key, &state)
        if state.young.count + 1 > max(1, limits.entries / 2) || state.youngCost + copy.cost > limits.bytes / 2 {
            state.old = state.young
            state.young = [:]
            state.youngCost = 0
        }
        guard copy.cost <= limits.bytes / 2 else { return }
        state.young[key] = copy
        state.youngCost += copy.cost
    }

    private func remove(_ key: Key, _ state: inout State) {
        if let copy = state.young.removeValue(forKey: key) { state.youngCost -= copy.cost }
        state.old[key] = nil
    }

    private func noteDrop(of name: Bytes, except kept: Key? = nil, _ state: inout State) {
        state.epoch += 1
        if state.drops.count >= max(1024, limits.entries) {
            state.drops = [:]
            state.forgottenDrops = state.epoch
        }
        state.drops[name] = Drop(epoch: state.epoch, except: kept)
    }
}

extension NearSessions {
    /// Which of two states of a session is the later one.
    private struct Rank: Comparable {
        let version: Int64
        let accessed: Timestamp
        let expires: Timestamp

        init(_ session: Session) {
            version = session.version
            accessed = session.lastAccessed
            expires = session.expires
        }

        static func < (left: Rank, right: Rank) -> Bool {
            (left.version, left.accessed, left.expires) < (right.version, right.accessed, right.expires)
        }
    }
}
