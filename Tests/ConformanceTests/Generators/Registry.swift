import Holdfast
import HoldfastStore
import HoldfastTesting

/// Every procedure of Holdfast with the generator of its random calls. Each service adds its line here and to
/// `ServiceCommands.scripts`; a procedure without a generator fails `DifferentialTests`.
enum ProcedureRegistry {
    static let procedures = ServiceCommands.scripts

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
