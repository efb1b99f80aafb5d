#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The thread that writes a journal: takes what the key space has logged, appends and syncs it, rewrites the files when they have
/// grown, and, when the disk fails, keeps what it has and tries again.
///
/// **When a write fails** (a full disk) what was not taken stays in memory and is written when there is room: the file misses its end
/// and nothing else. **When an fsync fails** nobody knows what the disk has: the file is cut back to what was synced before, and the
/// files are made anew from memory. Until either has worked, steps that would change something are refused.
final class JournalWriter {
    private let journal: Journal
    private let keyspace: Locked<Keyspace>
    private let time: any TimeSource
    private let observer: @Sendable (JournalEvent) -> Void
    private var files: JournalFiles
    /// Held until nothing is written any more.
    private var lock: FolderLock?

    /// What was taken from the log, how much of it is written, and where in the log it ends.
    private var pending: [UInt8] = []
    private var pendingWritten = 0
    private var pendingEnd = 0
    private var synced = 0
    private var lastSync: Duration

    private var failure: DataFileError?
    /// Whether an fsync failed, so that the current file cannot be trusted.
    private var isTainted = false
    private var rewrite: RunningRewrite?
    private var nextRewrite: Duration
    private var rewriteBackoff: Duration = .seconds(1)
    private var baseBytes: Int

    private struct RunningRewrite {
        let rotation: JournalFiles.Rotation
        let base: JournalBase
        let outcome: Locked<Result<Int, DataFileError>?>
    }

    init(
        _ journal: Journal, _ files: JournalFiles, _ keyspace: Locked<Keyspace>, lock: FolderLock?, time: any TimeSource,
        observer: @escaping @Sendable (JournalEvent) -> Void
    ) {
        self.journal = journal
        self.files = files
        self.keyspace = keyspace
        self.lock = lock
        self.time = time
        self.observer = observer
        baseBytes = files.bytes
        lastSync = SystemTime().uptime
        nextRewrite = lastSync
        showSizes()
    }

    private var configuration: JournalConfiguration { journal.configuration }
    private var uptime: Duration { SystemTime().uptime }

    /// Works until it is asked to end, and returns when all is on the disk or cannot be brought there.
    func run() {
        while true {
            let isClosing = journal.wishes.isClosing
            if failure == nil { writeAndSync(isClosing: isClosing) } else { tryAgain() }
            if isClosing, failure != nil || endsDrained() { break }
            finishRewrite()
            if failure == nil, !isClosing { beginRewriteIfDue() }
            rest(isClosing: isClosing)
        }
        abandonRewrite()
        keyspace.withLock { $0.log.refusal = .folderIsClosed }
        // Whoever began this thread has the lock as well, until it is over: later than `close()` returns.
        lock?.release()
        journal.announceEnd()
    }

    // MARK: - Writing

    /// Whether all is on the disk; then, in the same step, nothing more is accepted, because nobody would write it.
    private func endsDrained() -> Bool {
        guard pendingWritten == pending.count, synced == pendingEnd else { return false }
        return keyspace.withLock { keyspace in
            guard keyspace.log.count == 0 else { return false }
            keyspace.log.refusal = .folderIsClosed
            return true
        }
    }

    private func take() {
        keyspace.withLock { keyspace in
            guard keyspace.log.count > 0 else { return }
            keyspace.log.take(into: &pending)
            pendingEnd = keyspace.log.end
            pendingWritten = 0
        }
    }

    private func writeAndSync(isClosing: Bool) {
        // A buffer that one burst has made large is given back.
        if pending.capacity > 4 << 20, pendingWritten == pending.count { (pending, pendingWritten) = ([], 0) }
        take()
        do throws(DataFileError) {
            try files.append(pending, from: &pendingWritten)
        } catch {
            return fail(error)
        }
        do throws(DataFileError) {
            if mustSync(isClosing) { try sync() }
        } catch {
            isTainted = true
            return fail(error)
        }
        announce()
    }

    private func mustSync(_ isClosing: Bool) -> Bool {
        guard synced < pendingEnd else { return false }
        if isClosing || journal.wishes.demanded > synced { return true }
        return switch configuration.sync {
        case .always: true
        case .everysec: uptime - lastSync >= .seconds(1)
        case .no: false
        }
    }

    private func sync() throws(DataFileError) {
        lastSync = uptime
        try files.sync()
        synced = pendingEnd
        let now = time.now
        journal.updateStatus { status in
            status.syncs += 1
            status.lastSync = now
        }
    }

    private func announce() {
        journal.announce(written: pendingEnd, synced: synced) { [pendingEnd, bytes = files.bytes] status in
            status.appendedBytes = pendingEnd
            status.fileBytes = bytes
        }
    }

    private func showSizes() {
        journal.updateStatus { [bytes = files.bytes, baseBytes] status in
            status.fileBytes = bytes
            status.baseBytes = baseBytes
        }
    }

    /// Sleeps until there is something to do.
    private func rest(isClosing: Bool) {
        guard !isClosing else { return }
        if failure != nil { return journal.doorbell.wait(atMost: configuration.retryInterval) }
        let isEmpty = keyspace.withLock { keyspace in
            keyspace.log.readerSleeps = keyspace.log.count == 0
            return keyspace.log.readerSleeps
        }
        if isEmpty {
            // Whoever asked for something before this line has rung, and the bell remembers.
            let untilSync = configuration.sync == .everysec && synced < pendingEnd ? lastSync + .seconds(1) - uptime : nil
            journal.doorbell.wait(atMost: untilSync)
        } else if configuration.sync != .always {
            // Nobody waits for this write. Under load a thousand writes a second serve all, rather than one for every step.
            usleep(1000)
        }
    }

    // MARK: - Failure

    private func fail(_ error: DataFileError) {
        if isTainted { files.cutUnsynced() }
        let isNew = failure == nil
        failure = error
        keyspace.withLock { $0.log.refusal = ReplyError("MISCONF Errors writing to the AOF file: \(error.reason)") }
        journal.announce(error)
        if isNew { observer(.failed(error)) }
    }

    private func tryAgain() {
        do throws(DataFileError) {
            if isTainted { try makeAnew() } else { try files.append(pending, from: &pendingWritten) }
        } catch {
            return fail(error)
        }
        do throws(DataFileError) {
            try sync()
        } catch {
            isTainted = true
            return fail(error)
        }
        isTainted = false
        failure = nil
        announce()
        journal.announceRecovery()
        // Who closes the folder wants no more writes, though there is room again.
        let refusal: ReplyError? = journal.wishes.isClosing ? .folderIsClosed : nil
        keyspace.withLock { $0.log.refusal = refusal }
        observer(.recovered)
    }

    /// New files from memory, in place of one that cannot be trusted. Nothing but expiries changes meanwhile.
    private func makeAnew() throws(DataFileError) {
        abandonRewrite()
        let rotation = try files.prepareRotation()
        keyspace.withLock { keyspace in
            // What was logged up to here is part of the picture.
            keyspace.log.take(into: &pending)
            pendingEnd = keyspace.log.end
            keyspace.beginSnapshot()
        }
        pending = []
        pendingWritten = 0
        let size = try JournalBase(folder: files.folder, keyspace: keyspace).write()
        files.turn(to: rotation)
        try files.finish(rotation, baseBytes: size)
        baseBytes = size
        showSizes()
    }

    // MARK: - Rewriting

    private func beginRewriteIfDue() {
        guard rewrite == nil, failure == nil else { return }
        let isWanted = journal.wishes.rewrite
        guard isWanted || (hasGrown && uptime >= nextRewrite) else { return }
        journal.rewriteHasBegun()
        let rotation: JournalFiles.Rotation
        do throws(DataFileError) {
            rotation = try files.prepareRotation()
            try files.announce(rotation)
        } catch {
            return rewriteFailed(error)
        }
        // All that stands in front of the rotation is synced before anything stands behind it. Most of it before the picture is
        // begun, so that little is left to do then.
        do throws(DataFileError) {
            try sync()
            keyspace.withLock { keyspace in
                keyspace.log.take(into: &pending)
                (pendingEnd, pendingWritten) = (keyspace.log.end, 0)
                keyspace.beginSnapshot()
            }
            try files.append(pending, from: &pendingWritten)
            try sync()
        } catch {
            isTainted = pendingWritten == pending.count
            keyspace.withLock { $0.endSnapshot() }
            return fail(error)
        }
        announce()
        files.turn(to: rotation)
        writeBase(of: rotation)
    }

    private func writeBase(of rotation: JournalFiles.Rotation) {
        let base = JournalBase(folder: files.folder, keyspace: keyspace)
        let outcome = Locked<Result<Int, DataFileError>?>(nil)
        rewrite = RunningRewrite(rotation: rotation, base: base, outcome: outcome)
        journal.updateStatus { $0.isRewriting = true }
        do throws(StoreError) {
            try BlockingThread.start { [doorbell = journal.doorbell] in
                let result: Result<Int, DataFileError>
                do throws(DataFileError) { result = .success(try base.write()) } catch { result = .failure(error) }
                outcome.withLock { $0 = result }
                doorbell.ring()
            }
        } catch {
            keyspace.withLock { $0.endSnapshot() }
            rewriteFailed(DataFileError(number: 0, call: "rewrite", file: "", reason: error.message))
        }
    }

    private var hasGrown: Bool {
        configuration.isRewriteDue(from: baseBytes, to: files.bytes)
    }

    private func finishRewrite() {
        guard let running = rewrite, let outcome = running.outcome.withLock({ $0 }) else { return }
        do throws(DataFileError) {
            let size = try outcome.get()
            try files.finish(running.rotation, baseBytes: size)
            rewrite = nil
            baseBytes = files.bytes
            rewriteBackoff = .seconds(1)
            showSizes()
            let now = time.now
            journal.updateStatus { status in
                status.isRewriting = false
                status.rewrites += 1
                status.lastRewrite = now
                status.lastRewriteFailure = nil
            }
            observer(.rewritten(bytes: size))
        } catch {
            rewriteFailed(error)
        }
    }

    /// The old files stay as they are. The next attempt is later each time, at most after an hour.
    private func rewriteFailed(_ error: DataFileError) {
        rewrite = nil
        nextRewrite = uptime + rewriteBackoff
        rewriteBackoff = min(rewriteBackoff * 2, .seconds(3600))
        try? files.folder.remove(JournalManifest.temporaryBaseName)
        journal.updateStatus { status in
            status.isRewriting = false
            status.lastRewriteFailure = error
        }
        observer(.rewriteFailed(error))
    }

    /// Stops a rewrite and waits until its thread has let go.
    private func abandonRewrite() {
        guard let running = rewrite else { return }
        running.base.isCancelled.withLock { $0 = true }
        while running.outcome.withLock({ $0 == nil }) { journal.doorbell.wait(atMost: .milliseconds(100)) }
        rewrite = nil
        try? files.folder.remove(JournalManifest.temporaryBaseName)
        journal.updateStatus { $0.isRewriting = false }
    }
}
