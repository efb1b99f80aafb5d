import Holdfast
import HoldfastStore
import HoldfastTesting

let instanceGenerators: [ProcedureGenerator] = [
    ProcedureGenerator(InstanceProcedures.renew) { g in
        ([g.names.key("instances")], [Bytes(g.id()), g.pick(["", "0", "1", "5000", "60000", "86400001"])])
    },
    ProcedureGenerator(InstanceProcedures.leave) { g in ([g.names.key("instances")], [Bytes(g.id())]) },
]
