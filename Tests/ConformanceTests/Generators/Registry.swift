import Holdfast
import HoldfastStore
import HoldfastTesting

/// Every procedure of Holdfast with the generator of its random calls. Each service adds its line to both lists; a procedure
/// without a generator fails `DifferentialTests`.
enum ProcedureRegistry {
    static let procedures: [Script] = [
        AtomicProcedures.all,
        CacheProcedures.all,
        FailoverProcedures.all,
        IdempotencyProcedures.all,
        InstanceProcedures.all,
        RateLimitProcedures.all,
        SessionProcedures.all,
    ].flatMap { $0 }

    static let generators: [ProcedureGenerator] = [
        atomicGenerators,
        cacheGenerators,
        [ProcedureGenerator(FailoverProcedures.writes) { _ in ([], []) }],
        idempotencyGenerators,
        instanceGenerators,
        rateLimitGenerators,
        sessionGenerators,
    ].flatMap { $0 }
}
