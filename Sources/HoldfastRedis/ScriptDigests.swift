import Crypto
import HoldfastStore

/// The SHA-1 digests by which a server knows scripts, each computed once.
final class ScriptDigests: Sendable {
    private struct Known {
        /// Kept so that its identity is not given to another script.
        let script: Script
        let digest: Bytes
    }

    /// Scripts are constants of their services, some dozens. Who makes them at run time should not fill the memory.
    private static let limit = 4096
    private let known = Locked<[ObjectIdentifier: Known]>([:])

    func digest(of script: Script) -> Bytes {
        let id = ObjectIdentifier(script)
        if let digest = known.withLock({ $0[id]?.digest }) { return digest }
        let digest = Self.sha1(script.lua)
        known.withLock { known in
            if known.count >= Self.limit { known.removeAll() }
            known[id] = Known(script: script, digest: digest)
        }
        return digest
    }

    /// EVALSHA, and where the server does not know the script (it was restarted, or flushed its scripts), EVAL, which teaches it.
    func evaluate(
        _ script: Script, _ keys: [Key], _ arguments: [Bytes], send: ([Bytes]) async throws(StoreError) -> Reply
    ) async throws(StoreError) -> Reply {
        let reply = try await send(Self.command("EVALSHA", digest(of: script), keys, arguments))
        guard case .error(let error) = reply, error.prefix == "NOSCRIPT" else { return reply }
        return try await send(Self.command("EVAL", Bytes(script.lua), keys, arguments))
    }

    private static func command(_ name: Bytes, _ script: Bytes, _ keys: [Key], _ arguments: [Bytes]) -> [Bytes] {
        var command = [name, script, Bytes(Int64(keys.count))]
        command.reserveCapacity(3 + keys.count + arguments.count)
        for key in keys { command.append(key.bytes) }
        command.append(contentsOf: arguments)
        return command
    }

    static func sha1(_ text: String) -> Bytes { Bytes(hex: Insecure.SHA1.hash(data: Array(text.utf8))) }
}
