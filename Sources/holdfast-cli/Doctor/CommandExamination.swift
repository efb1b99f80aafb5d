import HoldfastRedis
import HoldfastStore

/// Which commands the server's user may not call.
///
/// What only reads and has no keys is called. The others are sent within a transaction that the server cannot carry out, because a command in
/// it lacks its argument: permissions are looked at when a command is queued, and then nothing is done (EXECABORT). Not by
/// `redis.acl_check_cmd`, which would need no trick: Redis 7.0.15 crashes when it is asked about a command without its keys.
struct CommandExamination {
    let store: RedisStore
    /// In one slot.
    let keys: [Key]
    /// Whether the user may write to these keys, so that a refusal is not about them.
    let areWritable: Bool

    /// The names of the commands that may not be called.
    func refused(of names: [String]) async throws(StoreError) -> [String] {
        let specs = names.compactMap { CommandTable.shared[Bytes($0)] }
        let readers = specs.filter { $0.keys == .none && !$0.flags.contains(.write) }
        var refused: [String] = []
        for spec in readers {
            let command = [Bytes(spec.name)] + Self.padding(spec, behind: 1)
            guard case .error(let line) = try await store.execute(.raw(command)), isRefusal(StoreError(line)) else { continue }
            refused.append(spec.name)
        }
        guard try await permitsTransactions() else { return refused + ["MULTI", "EXEC"] }
        let others = specs.filter { spec in !readers.contains { $0.name == spec.name } }
        // All at once, and only where one of them is refused each by itself.
        guard try await isRefused(others) else { return refused }
        for spec in others where try await isRefused([spec]) { refused.append(spec.name) }
        return refused
    }

    /// Too few arguments: the server refuses it before it looks at permissions.
    private static let hindrance = Operation.raw(["ECHO"])

    /// Asked before anything is sent that would write outside a transaction.
    private func permitsTransactions() async throws(StoreError) -> Bool {
        do throws(StoreError) { _ = try await store.transaction(.ping, .ping) } catch {
            if error.isServerFailure { throw error }
            return false
        }
        return true
    }

    private func isRefused(_ specs: [CommandSpec]) async throws(StoreError) -> Bool {
        let commands = specs.flatMap { spec in
            keys.map { Operation.raw([Bytes(spec.name), $0.bytes] + Self.padding(spec, behind: 2)) }
        }
        return isRefusal(try await failure(of: commands))
    }

    /// What the server has against it: against these, or else against what hinders them.
    private func failure(of operations: [Operation]) async throws(StoreError) -> StoreError {
        let futile = Batch(.transaction, operations + [Self.hindrance])
        do throws(StoreError) { _ = try await store.execute(futile) } catch {
            if error.isServerFailure { throw error }
            return error
        }
        throw StoreError(.unexpectedReply, "A transaction was carried out that could not be", operation: "EXEC")
    }

    private func isRefusal(_ error: StoreError) -> Bool {
        error.code == .permissionMissing && (areWritable || error.message.contains("to run the '"))
    }

    /// As many arguments as it takes at least; a number is one for all of them.
    private static func padding(_ spec: CommandSpec, behind count: Int) -> [Bytes] {
        Array(repeating: "1", count: max(0, abs(spec.arity) - count))
    }
}
