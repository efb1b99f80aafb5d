/// What failover asks a server for: whether it takes writes.
public enum FailoverProcedures {
    public static let all: [Script] = [writes]

    /// Answers 1 where the server takes writes, and changes nothing.
    ///
    /// The question is in the first line, which says that the script may write and needs memory: a replica (`READONLY`), a primary
    /// without its replicas (`NOREPLICAS`), one that is full (`OOM`) or cannot save (`MISCONF`) refuses it at the door, as it refuses
    /// the services' scripts. Most of them answer PING. Instead of a key that is set, which would need a permission of its own.
    ///
    /// KEYS and ARGV: none. Result: 1. Cost: O(1).
    public static let writes = Script("failover.writes", version: 1, isIdempotent: true, lua: "return 1") { _, _, _, _ in
        .integer(1)
    }
}

/// Whether a server that answers must also show that it takes writes, before calls go to it again.
///
/// It must where it has been seen to take them, and where it is away because it refused them: otherwise a server that answers PING and
/// refuses every script would come back within two probes, again and again, and each return ends what this process kept for the
/// outage. A server that has never taken a write need not, or whoever reads from a replica on purpose would never come back to it.
struct WriteProof: Sendable {
    private enum Seen { case unknown, taken, refused }

    private var seen = Seen.unknown
    /// Whether all failures since the last success were refusals of writes; nil where there were none.
    private var wasOnlyRefused: Bool?

    var isRequired: Bool { seen == .taken || wasOnlyRefused == true }
    /// Whether nobody has looked yet.
    var isUnknown: Bool { seen == .unknown }

    mutating func note(success: Void) { wasOnlyRefused = nil }
    mutating func note(failure error: StoreError) { wasOnlyRefused = (wasOnlyRefused ?? true) && error.refusesWrites }

    /// What ``FailoverProcedures/writes`` was answered. Who has taken writes once is not excused by refusing them.
    mutating func note(answer error: StoreError?) {
        guard let error else { return seen = .taken }
        if seen == .unknown, error.refusesWrites || error.code == .permissionMissing || error.code == .unknownCommand {
            seen = .refused
        }
    }

    /// After an outage it may be another server: one that took no writes is looked at again.
    mutating func hasReturned() {
        wasOnlyRefused = nil
        if seen == .refused { seen = .unknown }
    }
}

extension StoreError {
    /// Whether the server is there and takes no writes.
    fileprivate var refusesWrites: Bool { [.serverReadOnly, .outOfMemory, .storageFailed].contains(code) }
}
