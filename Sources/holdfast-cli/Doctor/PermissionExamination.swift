import Holdfast
import HoldfastRedis
import HoldfastStore

/// Whether the server's user may do what Holdfast does: each thing is tried, in a form that changes nothing, or for a moment only.
///
/// Not by ACL DRYRUN, which is a permission of its own, and one that nobody should need.
struct PermissionExamination {
    let store: RedisStore
    let grant: Grant
    let topologyCommands: [[Bytes]]

    private let token = String(UInt64.random(in: .min ... .max), radix: 36)

    func findings() async -> [Finding] {
        let (key, others) = await (write(main), write(companion))
        let writable = [(main, key), (companion, others)].filter { $0.1 == nil }.map(\.0)
        return keys([key, others]) + [await scripts(), await commands(on: writable), await channels(), await fencing()]
    }

    // MARK: - Keys

    private var main: Key { grant.namespace.key("doctor:\(token)") }
    /// As a session's tombstone, or the lease of a cache entry.
    private var companion: Key { main.companion("doctor") }

    private func keys(_ faults: [String?]) -> [Finding] {
        let prefix = grant.namespace.prefix
        let lines = faults.compactMap(\.self)
        // What is no matter of the key is said once.
        if lines.isEmpty || lines.count == 2 && lines[0] == lines[1] {
            return [
                lines.first.map { .wrong("Write", $0) }
                    ?? .right("Write", "keys under \(prefix) and {\(prefix) can be written, read and deleted")
            ]
        }
        return lines.map { .wrong("Write", $0) }
    }

    /// Writes, reads and deletes one key, as the services do. Answers what is wrong.
    private func write(_ key: Key) async -> String? {
        do {
            let text = Bytes("canary")
            try await store(.set(key, text, expiration: .after(.seconds(10))))
            let found = try await store(.get(key))
            _ = try await store(.unlink([key]))
            return found == text ? nil : "what was written to \(key) was not read back: is this a replica, or a proxy?"
        } catch {
            guard error.code == .permissionMissing else { return "\(error.message): the server must take writes" }
            return grant.line(error, key: key == main ? grant.keys : grant.companions)
        }
    }

    // MARK: - Commands

    private func scripts() async -> Finding {
        // An unknown script is as good an answer as any.
        let calls: [(String, [Bytes])] = [
            ("EVALSHA", ["EVALSHA", Bytes(String(repeating: "0", count: 40)), "0"]), ("EVAL", ["EVAL", "return 1", "0"]),
        ]
        do throws(StoreError) {
            let missing = try await refused(calls)
            guard missing.isEmpty else {
                return .wrong(
                    "Scripts",
                    "\(Grant.list(missing)) may not be called, and limits and sessions need it: \(grant.commands(missing))")
            }
            return .right("Scripts", "Lua may be run")
        } catch { return .wrong("Scripts", "\(error.message): limits and sessions need Lua") }
    }

    /// - Parameter keys: those that the user may write to.
    private func commands(on keys: [Key]) async -> Finding {
        do throws(StoreError) {
            let examination = CommandExamination(
                store: store, keys: keys.isEmpty ? [main] : keys, areWritable: !keys.isEmpty)
            let names = try await examination.refused(of: ServiceCommands.names) + refusedOfTopology()
            guard names.isEmpty else {
                return .wrong("Commands", "\(Grant.list(names)) may not be called: \(grant.commands(names))")
            }
            return .right("Commands", "all that the services send may be called")
        } catch { return .doubtful("Commands", "which of them may be called cannot be told: \(error.message)") }
    }

    /// On a connection that nobody else has, for some of them change it.
    private func refusedOfTopology() async throws(StoreError) -> [String] {
        guard !topologyCommands.isEmpty else { return [] }
        let calls = topologyCommands.map { command in
            (command.map(\.lossyString).joined(separator: "|"), command)
        }
        do {
            return try await store.withConnection(to: main) { try await refused(calls, on: $0) }
        } catch {
            throw error as? StoreError ?? StoreError(.internalError, "\(error)")
        }
    }

    // MARK: - Channels

    /// Listens, and publishes.
    private func channels() async -> Finding {
        let channel = grant.namespace.channel("doctor:\(token)")
        do {
            try await store.withSubscription(to: [.channel(channel)]) { _ in _ = try await store(.publish(channel, "canary")) }
            return .right("Channels", "those under \(grant.namespace.prefix) can be published to and listened to")
        } catch {
            guard let error = error as? StoreError else { return .wrong("Channels", "\(error)") }
            // Without the other the connection is closed instead, and whoever else listens over it misses what is said meanwhile.
            return .wrong("Channels", grant.line(error).replacing("+subscribe", with: "+subscribe +unsubscribe"))
        }
    }

    // MARK: - Fencing

    /// After an outage the connection that was lost is ended on the server, by its number and address.
    private func fencing() async -> Finding {
        let calls: [(String, [Bytes])] = [
            ("CLIENT|ID", ["CLIENT", "ID"]), ("CLIENT|INFO", ["CLIENT", "INFO"]),
            // Nobody has port 0.
            ("CLIENT|KILL", ["CLIENT", "KILL", "ID", "1", "ADDR", "127.0.0.1:0"]),
        ]
        do throws(StoreError) {
            let missing = try await refused(calls)
            guard missing.isEmpty else {
                return .doubtful(
                    "Fencing",
                    "\(Grant.list(missing)) may not be called: a write that the network delivers after an outage may then overwrite newer ones; "
                        + grant.commands(missing))
            }
            return .right("Fencing", "connections that were lost can be ended on the server")
        } catch { return .doubtful("Fencing", error.message) }
    }

    /// The names of the calls that the user may not make. What else they answer is of no interest here.
    private func refused(
        _ calls: [(name: String, command: [Bytes])], on connection: (any Store)? = nil
    ) async throws(StoreError) -> [String] {
        var names: [String] = []
        for (name, command) in calls {
            guard case .error(let line) = try await (connection ?? store).execute(.raw(command)) else { continue }
            if StoreError(line).code == .permissionMissing { names.append(name) }
        }
        return names
    }
}
