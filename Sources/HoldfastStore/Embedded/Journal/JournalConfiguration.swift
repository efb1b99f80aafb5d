/// How an embedded store keeps its entries in a folder.
public struct JournalConfiguration: Sendable, Hashable {
    /// When what was written must be on the disk: Redis's `appendfsync`.
    public enum Sync: String, Sendable, Hashable, CaseIterable {
        /// Before a write is acknowledged. Writes that come together share one fsync.
        case always
        /// Within about a second: what a power failure takes is the last second's writes.
        case everysec
        /// When the system likes, and at the end.
        case no
    }

    public var sync: Sync
    /// By how many percent the files must have grown since the last rewrite for the next one to begin by itself; 0 for never, at most
    /// a million.
    public var rewritePercentage: Int
    /// How large the files must be, in bytes, for a rewrite to begin by itself; not negative.
    public var rewriteMinimumSize: Int
    /// How long to wait before a disk that failed is tried again; not negative.
    public var retryInterval: Duration
    /// How many bytes may wait to be written before writers have to wait for the disk; not negative.
    public var maximumPending: Int

    public init(
        sync: Sync = .everysec, rewritePercentage: Int = 100, rewriteMinimumSize: Int = 64 << 20,
        retryInterval: Duration = .seconds(1), maximumPending: Int = 64 << 20
    ) {
        self.sync = sync
        self.rewritePercentage = rewritePercentage
        self.rewriteMinimumSize = rewriteMinimumSize
        self.retryInterval = retryInterval
        self.maximumPending = maximumPending
    }

    /// Whether files that held `base` bytes after the last rewrite and hold `size` now have grown enough for the next one.
    func isRewriteDue(from base: Int, to size: Int) -> Bool {
        guard rewritePercentage > 0, size >= rewriteMinimumSize else { return false }
        let (needed, isTooMuch) = max(1, base).multipliedReportingOverflow(by: rewritePercentage)
        let (grown, isHuge) = (size - base).multipliedReportingOverflow(by: 100)
        // No file is so large that it could have grown by more than can be counted.
        return !isTooMuch && !isHuge && grown >= needed
    }

    /// - Throws: ``ErrorCode/invalidArgument`` naming the setting that is out of its range.
    func check() throws(StoreError) {
        guard (0...1_000_000).contains(rewritePercentage) else {
            throw .invalid("rewritePercentage", "rewritePercentage must be between 0 and 1000000")
        }
        guard rewriteMinimumSize >= 0 else { throw .invalid("rewriteMinimumSize", "rewriteMinimumSize must not be negative") }
        guard retryInterval >= .zero else { throw .invalid("retryInterval", "retryInterval must not be negative") }
        guard maximumPending >= 0 else { throw .invalid("maximumPending", "maximumPending must not be negative") }
    }
}

/// What a journal has to tell of its own accord. Told once each, outside of locks, on the journal's own thread.
public enum JournalEvent: Sendable, Hashable {
    /// The disk fails: writes are refused from now on.
    case failed(DataFileError)
    /// The disk works again: writes are accepted.
    case recovered
    /// The files were rewritten to this many bytes.
    case rewritten(bytes: Int)
    /// They were not; the old ones stay valid.
    case rewriteFailed(DataFileError)
}

/// How a journal is: counts since the start, for health and metrics.
public struct JournalStatus: Sendable, Hashable {
    public var sync: JournalConfiguration.Sync = .everysec
    /// What the files hold together.
    public var fileBytes = 0
    /// What they held after the last rewrite, or at the start.
    public var baseBytes = 0
    /// How many bytes of changes were written.
    public var appendedBytes = 0
    /// How many bytes of changes wait to be written.
    public var pendingBytes = 0
    public var syncs = 0
    /// When the disk last confirmed.
    public var lastSync: Timestamp?
    /// Why writes are refused; nil where they are not.
    public var failure: DataFileError?
    public var rewrites = 0
    public var isRewriting = false
    public var lastRewrite: Timestamp?
    /// Why the last rewrite failed; nil where it did not.
    public var lastRewriteFailure: DataFileError?
    /// What was found at the start.
    public var load = JournalLoad()
}
