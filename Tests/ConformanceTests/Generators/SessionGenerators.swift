import Holdfast
import HoldfastStore
import HoldfastTesting

/// Few sessions with few fields, so that calls meet live, expired and deleted ones and their limits.
let sessionGenerators: [ProcedureGenerator] = [
    ProcedureGenerator(SessionProcedures.create, isReplyUnordered: true) { g in
        var fields: [Bytes] = ["user", Bytes(g.id()), "kind", "user"]
        if g.chance(0.7) { fields += ["d:a", "1", "size", "4", "fields", "1"] }
        // Damaged, as by another program.
        if g.chance(0.1) { fields += [g.pick(["idle", "ends"]), "x"] }
        if g.chance(0.6) { fields += ["window", Bytes(Int64(g.int(1...3)))] }
        if g.chance(0.4) { fields += ["pending", "1"] }
        return (g.sessionKeys(), [g.span(), g.span()] + fields)
    },
    ProcedureGenerator(SessionProcedures.adopt, isReplyUnordered: true) { g in
        let expires = Bytes(g.moment().milliseconds)
        let (ends, accessed) = (Bytes(g.now.milliseconds + 100_000), Bytes(g.now.milliseconds))
        let from: [Bytes] = g.chance(0.5) ? ["from", g.pick(["a", "a b", " b  a ", "ab"])] : []
        return (
            g.sessionKeys(),
            [
                expires, g.pick(["0", "1"]), "user", Bytes(g.id()), "expires", expires, "ends", ends, "idle", g.span(),
                "accessed", accessed,
                "version",
                Bytes(Int64(g.int(1...3))),
            ] + from + g.storedFields() + g.manyStones()
        )
    },
    ProcedureGenerator(SessionProcedures.merge) { g in
        let expires = Bytes(g.moment().milliseconds)
        let ends = Bytes(g.chance(0.7) ? g.now.milliseconds + 100_000 : g.moment().milliseconds)
        var fields: [Bytes] = [
            "user", Bytes(g.id()), "ends", ends, "idle", g.span(), "accessed", Bytes(g.moment().milliseconds), "version",
            Bytes(Int64(g.int(1...9))), "size", "20", "fields", "1", "stones", "1",
        ]
        if g.chance(0.9) { fields += ["expires", expires] }
        if g.chance(0.9) { fields += ["created", Bytes(g.moment().milliseconds)] }
        return (g.sessionKeys(), fields + g.storedFields() + g.manyStones())
    },
    ProcedureGenerator(SessionProcedures.endBefore) { g in
        (g.sessionKeys(), [Bytes(g.moment().milliseconds), g.span()] + g.keptID())
    },
    ProcedureGenerator(SessionProcedures.read, isReplyUnordered: true) { g in
        (g.sessionKeys(), [g.pick(["", "0", "1000", "5000"])])
    },
    ProcedureGenerator(SessionProcedures.extend, isReplyUnordered: true) { g in
        (g.operationKeys(), [g.chance(0.4) ? "" : g.span(), g.span()])
    },
    ProcedureGenerator(SessionProcedures.delete) { g in
        (
            g.sessionKeys(),
            [
                g.expectedVersion(), g.pick(["1", "30000", "600000"]), g.pick(["deleted", "rotated:1", "before:1", "before:x"]),
                g.pick(["", "1"]),
            ] + g.keptID()
        )
    },
    ProcedureGenerator(SessionProcedures.update, isReplyUnordered: true) { g in
        var names = ["d:a", "d:b", "d:c", "d:dd"].map { Bytes($0) }
        for place in names.indices.reversed() { names.swapAt(place, g.int(0...place)) }
        let (set, removed) = (names.prefix(g.int(0...2)), names.suffix(g.int(0...2)))
        var arguments: [Bytes] = [g.pick(["10", "30", "1000"]), g.pick(["1", "2", "9"]), g.expectedVersion()]
        let expected = g.chance(0.6) ? [] : [g.pick(names), g.pick(["", "1", "22"])]
        arguments += [Bytes(Int64(expected.count / 2))] + expected + [Bytes(Int64(set.count))]
        for name in set { arguments += [name, g.pick(["1", "22", "\"long enough\""])] }
        let most: [Bytes] = g.chance(0.7) ? [] : [g.pick(["0", "1", "2", "300"])]
        return (g.sessionKeys(), arguments + [Bytes(Int64(removed.count))] + removed + most)
    },
    ProcedureGenerator(SessionProcedures.append, isReplyUnordered: true) { g in
        (
            g.operationKeys(),
            [g.pick(["30", "60", "1000"]), g.span()] + (0..<g.int(1...5)).map { _ in g.pick(["{}", "{\"role\":\"user\"}"]) }
        )
    },
    ProcedureGenerator(SessionProcedures.indexAdd) { g in
        let index = g.sessionIndex()
        let created = g.chance(0.5) ? Bytes() : Bytes(g.moment().milliseconds)
        return ([index, index.companion("revoked")], [Bytes(g.id(of: 6)), Bytes(g.moment().milliseconds), created])
    },
    ProcedureGenerator(SessionProcedures.indexRevoke) { g in
        ([g.sessionIndex().companion("revoked")], [g.chance(0.5) ? "" : Bytes(g.moment().milliseconds), g.span()])
    },
    ProcedureGenerator(SessionProcedures.indexSweep) { g in ([g.sessionIndex()], []) },
]

extension Generation {
    fileprivate mutating func sessionKeys() -> [Key] {
        let key = names.key("session:\(id(of: 2))")
        return [key, key.companion("deleted")]
    }

    /// With the marker of an operation, now and then.
    fileprivate mutating func operationKeys() -> [Key] {
        let pair = sessionKeys()
        guard chance(0.4) else { return pair }
        return pair + [Key(raw: Bytes(Array(pair[0].companion("once").bytes) + Array(":\(pick(["a", "b"]))".utf8)))]
    }

    /// What a revocation keeps, as in the `from` of a session; none, now and then.
    fileprivate mutating func keptID() -> [Bytes] { chance(0.4) ? [] : [pick(["", "a", "b", "a b"])] }

    /// Data fields with their stamps, some of them removed.
    fileprivate mutating func storedFields() -> [Bytes] {
        ["d:a", "d:b", "d:c"].flatMap { name -> [Bytes] in
            if chance(0.4) { return [] }
            return [Bytes(name), Bytes("\(moment().milliseconds) \(pick(["", "1", "22"]))")]
        }
    }

    /// So many stamps of removed fields, now and then, that the next one needs room.
    fileprivate mutating func manyStones() -> [Bytes] {
        guard chance(0.05) else { return [] }
        let count = pick([255, 256, 260])
        return (0..<count).flatMap { [Bytes("d:s\($0)"), Bytes("\(moment().milliseconds) ")] } + ["stones", Bytes(Int64(count))]
    }

    fileprivate mutating func sessionIndex() -> Key { names.key("user_sessions:\(id(of: 2))") }

    /// An idle or absolute TTL.
    fileprivate mutating func span() -> Bytes { Bytes(Int64(pick([1, 10, 5000, 60_000, 90_000]))) }

    fileprivate mutating func expectedVersion() -> Bytes { chance(0.6) ? "" : Bytes(Int64(int(1...4))) }
}
