import Holdfast
import HoldfastStore
import Logging

/// Who did what only few may, or looked into the cache where that is recorded: the last entries in memory, and all as log lines under the
/// label `holdfast.audit`.
final class AuditLog: Sendable {
    struct Entry: Sendable, Hashable {
        /// Counts up from 1 for each process.
        let number: Int64
        let time: Timestamp
        /// The API key's name.
        let actor: String
        let role: CallContext.Role?
        /// Nil for the default one.
        let tenant: String?
        /// The operation's name, such as `clearCache`.
        let act: String
        /// What it was done to, with session ids masked.
        let target: String
        /// The answer's status.
        let status: Int
        let requestID: String

        var outcome: Outcome {
            switch status {
            case ..<400: .done
            case ..<500: .refused
            default: .failed
            }
        }
    }

    enum Outcome: String, Sendable, CaseIterable { case done, refused, failed }

    private struct State {
        var entries: [Entry] = []
        /// Where the oldest entry is once the ring is full.
        var oldest = 0
        var count: Int64 = 0
    }

    /// Whether reading and writing cache entries is recorded too.
    let includesCache: Bool
    private let capacity: Int
    private let time: any TimeSource
    private let logger: Logger
    private let state = Locked(State())

    init(includesCache: Bool, capacity: Int = 1000, time: any TimeSource, logger: Logger) {
        self.includesCache = includesCache
        self.capacity = capacity
        self.time = time
        self.logger = logger
    }

    /// - Parameter context: of a caller who was let in: what is refused at the door is not recorded.
    func record(_ context: CallContext, act: String, target: String, status: Int, requestID: String) {
        let now = time.now
        let entry = state.withLock { state in
            state.count += 1
            let entry = Entry(
                number: state.count, time: now, actor: context.actor ?? "", role: context.role, tenant: context.tenant, act: act,
                target: target, status: status, requestID: requestID)
            if state.entries.count < capacity {
                state.entries.append(entry)
            } else {
                state.entries[state.oldest] = entry
                state.oldest = (state.oldest + 1) % capacity
            }
            return entry
        }
        logger.notice(
            "audit",
            metadata: [
                "audit.act": "\(entry.act)", "audit.target": "\(entry.target)", "audit.outcome": "\(entry.outcome.rawValue)",
                "http.status": "\(entry.status)", "actor": "\(entry.actor)", "role": "\(entry.role?.rawValue ?? "none")",
                "tenant": "\(entry.tenant ?? "default")", "request.id": "\(entry.requestID)",
            ])
    }

    /// The latest entries first.
    ///
    /// - Parameters:
    ///   - number: only entries older than this one; nil for the newest.
    ///   - tenant: only this tenant's; nil for everybody's.
    func entries(before number: Int64?, tenant: String?, limit: Int) -> [Entry] {
        let (entries, oldest) = state.withLock { ($0.entries, $0.oldest) }
        var found: [Entry] = []
        for entry in (entries[oldest...] + entries[..<oldest]).reversed() where entry.number < number ?? .max {
            guard tenant == nil || entry.tenant == tenant else { continue }
            found.append(entry)
            if found.count == limit { break }
        }
        return found
    }
}

extension Route {
    enum Audited { case administrative, cache }

    /// Whether calls are recorded: what only administrators may, what ends or resets many things at once, and the cache where that is
    /// wanted.
    var audited: Audited? {
        if access == .role(.admin) { return .administrative }
        if ["resetRateLimit", "resetLimit", "revokeUserSessions"].contains(name) { return .administrative }
        return path.description.hasPrefix("/api/v1/cache/") && access != .open ? .cache : nil
    }
}

/// What an act was done to, fit for logs.
enum AuditTarget {
    /// The path's parameters by name, each at most 80 characters, with session ids masked.
    static func text(_ parameters: [String: String?]) -> String {
        parameters.sorted { $0.key < $1.key }
            .map { "\($0.key)=\($0.value.map(mask) ?? "?")" }.joined(separator: " ")
    }

    /// Whatever is written like a session id is masked, wherever it stands; at most 80 characters.
    private static func mask(_ text: String) -> String {
        let output = maskedWhole(text)
        return output.count > 80 ? String(output.prefix(80)) + "…" : output
    }

    /// The same as a whole, for texts of bounded length.
    static func maskedWhole(_ text: String) -> String {
        var output = ""
        var rest = text.prefix(512)
        while let first = rest.first {
            if let id = [45, 36].lazy.compactMap({ try? SessionID(String(rest.prefix($0))) }).first {
                output += id.masked
                rest = rest.dropFirst(id.text.count)
            } else {
                output.append(first.isNewline ? " " : first)
                rest = rest.dropFirst()
            }
        }
        return output
    }
}
