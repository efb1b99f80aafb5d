import Holdfast
import HoldfastStore
import HoldfastTesting

let idempotencyGenerators: [ProcedureGenerator] = [
    ProcedureGenerator(IdempotencyProcedures.begin) { g in
        (
            [g.names.key("i:\(g.id())")],
            [
                g.pick(["x", "y"]), g.pick(["1", "2"]), g.pick(["o1", "o2"]), Bytes(Int64(g.int(-1...60_000))),
                Bytes(Int64(g.int(0...60_000))), g.pick(["0", "1"]),
            ]
        )
    },
    ProcedureGenerator(IdempotencyProcedures.complete) { g in
        ([g.names.key("i:\(g.id())")], [g.pick(["1", "2"]), g.value(), Bytes(Int64(g.int(-1...60_000)))])
    },
    ProcedureGenerator(IdempotencyProcedures.release) { g in
        ([g.names.key("i:\(g.id())")], [g.pick(["1", "2"]), g.pick(["0", "1"])])
    },
    ProcedureGenerator(IdempotencyProcedures.adopt) { g in
        (
            [g.names.key("i:\(g.id())")],
            [
                g.pick(["x", "y"]), g.pick(["o1", "o2"]), g.pick(["", "a", "b"]), g.pick(["", "1", "2"]),
                g.pick(["", "-1", "0", "5000"]), g.pick(["0", "1"]), Bytes(Int64(g.int(-1...60_000))),
            ]
        )
    },
]
