import Holdfast
import HoldfastStore
import HoldfastTesting

let atomicGenerators: [ProcedureGenerator] = [
    ProcedureGenerator(AtomicProcedures.compareAndSet) { g in
        let mode: Bytes = g.pick(["keep", "keep", "never", "after", "at"])
        let span = mode == "at" ? Bytes(g.moment().milliseconds) : Bytes(Int64(g.int(-1...60_000)))
        return (
            [g.names.key("s:\(g.id(of: 4))")],
            [g.chance(0.3) ? "absent" : "equal", g.pick(["x", "1", ""]), g.pick(["x", "1", "7"]), mode, span]
        )
    },
    ProcedureGenerator(AtomicProcedures.compareAndDelete) { g in
        ([g.names.key("s:\(g.id(of: 4))")], [g.pick(["x", "1", "7"])])
    },
    ProcedureGenerator(AtomicProcedures.incrementUnderCeiling) { g in
        (
            [g.names.key("s:\(g.id(of: 4))")],
            [
                Bytes(Int64(g.pick([1, 1, 2, -5, 9_007_199_254_740_991, -9_007_199_254_740_991]))),
                Bytes(Int64(g.int(0...20))), g.chance(0.5) ? "" : Bytes(Int64(g.int(1...60_000))),
            ]
        )
    },
]
