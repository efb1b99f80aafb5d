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

    static func sha1(_ text: String) -> Bytes { Bytes(hex: Insecure.SHA1.hash(data: Array(text.utf8))) }
}
