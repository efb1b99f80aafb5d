// The embedded store that keeps its entries in a folder, in the format of Redis 7's append-only file.
//
// With `appendfsync always` an operation that may write waits until the disk has all that the store had logged when it was carried
// out, also where it changed nothing itself: what it was told may rest on another's change that is not durable yet. Reads do not
// wait. While the disk fails, operations that may write are refused with MISCONF, as Redis does.

extension EmbeddedStore {
    /// Opens the store that a folder holds, or begins one there.
    ///
    /// The folder is locked: one process has it at a time. What a crash left unfinished at the end of the last file is cut off;
    /// ``journalStatus`` says what was found. Loading takes as long as the files are long and happens on a thread of its own.
    ///
    /// - Parameters:
    ///   - path: the data folder; the files are in `appendonlydir` within it. Folders are made with mode 0700, files with 0600.
    ///   - observer: told when the disk fails and works again, and of rewrites.
    /// - Throws: ``ErrorCode/invalidArgument`` naming a setting of the journal that is out of its range;
    ///   ``ErrorCode/folderInUse`` where another process has it; ``ErrorCode/dataUnreadable`` where the files hold what is not
    ///   understood, naming file and offset, and nothing is changed then; ``ErrorCode/storageFailed`` where the disk fails.
    public static func open(
        _ path: String, journal: JournalConfiguration = JournalConfiguration(), _ configuration: Configuration = Configuration(),
        time: any TimeSource = .system, observer: @escaping @Sendable (JournalEvent) -> Void = { _ in }
    ) async throws(StoreError) -> EmbeddedStore {
        try journal.check()
        let lock = try FolderLock(path)
        let folder: SystemFolder
        do throws(DataFileError) {
            folder = try SystemFolder(making: path + "/" + "appendonlydir")
        } catch {
            throw StoreError(.storageFailed, "\(error)", field: "HOLDFAST_DATA")
        }
        return try await open(folder, lock: lock, journal: journal, configuration, time: time, observer: observer)
    }

    /// Opens the store that a folder of any kind holds: what tests use to lose what was not synced, or to fail calls.
    public static func open(
        in folder: any DataFolder, journal: JournalConfiguration = JournalConfiguration(),
        _ configuration: Configuration = Configuration(), time: any TimeSource = .system,
        observer: @escaping @Sendable (JournalEvent) -> Void = { _ in }
    ) async throws(StoreError) -> EmbeddedStore {
        try journal.check()
        return try await open(folder, lock: nil, journal: journal, configuration, time: time, observer: observer)
    }

    private static func open(
        _ folder: any DataFolder, lock: FolderLock?, journal configuration: JournalConfiguration, _ store: Configuration,
        time: any TimeSource, observer: @escaping @Sendable (JournalEvent) -> Void
    ) async throws(StoreError) -> EmbeddedStore {
        let (keyspace, journal, files) = try await BlockingThread.run {
            do throws(StoreError) {
                return .success(try load(folder, configuration, store, time: time))
            } catch {
                return .failure(error)
            }
        }
        try BlockingThread.start {
            JournalWriter(journal, files, keyspace, lock: lock, time: time, observer: observer).run()
        }
        return EmbeddedStore(keyspace, journal, time: time)
    }

    private static func load(
        _ folder: any DataFolder, _ configuration: JournalConfiguration, _ store: Configuration, time: any TimeSource
    ) throws(StoreError) -> (Locked<Keyspace>, Journal, JournalFiles) {
        let manifest = try JournalFiles.readManifest(folder)
        var loader = JournalLoader(folder, into: store.keyspace())
        let sizes = try loader.load(manifest)
        let files: JournalFiles
        do throws(DataFileError) {
            files = try JournalFiles(folder, manifest, sizes: sizes)
        } catch {
            throw StoreError(.storageFailed, "\(error)", field: "HOLDFAST_DATA")
        }
        let journal = Journal(configuration, loader.load, time: time)
        let keyspace = Locked(loader.takeKeyspace())
        keyspace.withLock { keyspace in
            keyspace.log.isOn = true
            keyspace.log.capacity = configuration.maximumPending
        }
        return (keyspace, journal, files)
    }

    /// How the journal is; nil for a store that lives in memory only.
    public var journalStatus: JournalStatus? {
        guard let journal else { return nil }
        var status = journal.status
        status.pendingBytes = keyspace.withLock { $0.log.count }
        return status
    }

    /// Waits until all that was done before is on the disk, whatever `appendfsync` says.
    public func sync() async throws(StoreError) {
        guard let journal else { return }
        try await journal.flush(keyspace.withLock { $0.log.end })
    }

    /// Begins to rewrite the files to what the entries need, as BGREWRITEAOF does; nothing where that is under way.
    public func rewriteJournal() { journal?.askForRewrite() }

    /// Writes and syncs all there is, and lets go of the folder. Writes that come later are refused. Nothing for a store that lives in
    /// memory only.
    ///
    /// - Throws: ``ErrorCode/storageFailed`` where not all of it could be brought to the disk.
    public func close() async throws(StoreError) {
        guard let journal else { return }
        let end = keyspace.withLock { keyspace in
            if keyspace.log.refusal == nil { keyspace.log.refusal = .folderIsClosed }
            return keyspace.log.end
        }
        journal.askForEnd()
        await journal.waitForEnd()
        try await journal.wait(for: .synced, end)
    }

    // MARK: - Steps

    func perform(_ operations: [Operation], _ journal: Journal) async throws(StoreError) -> [Reply] {
        var replies: [Reply] = []
        replies.reserveCapacity(operations.count)
        var end = 0
        var mustSync = false
        for operation in operations {
            if let reply = deliver(operation) {
                replies.append(reply)
                continue
            }
            let mayWrite = operation.mayWrite
            do throws(StoreError) {
                let (result, logged) = try await admit(journal, mayWrite: mayWrite) { $0.execute(operation) }
                switch result {
                case .success(let reply):
                    replies.append(reply)
                    end = logged
                    if mayWrite { mustSync = journal.configuration.sync == .always }
                case .failure(let refusal): replies.append(.error(refusal))
                }
            } catch {
                // Those before it have been carried out.
                throw replies.isEmpty ? error : error.withUnknownEffect()
            }
        }
        if mustSync { try await journal.wait(for: .synced, end) }
        return replies
    }

    func transact(_ batch: Batch, _ journal: Journal) async throws(StoreError) -> [Reply] {
        let mayWrite = batch.operations.contains(where: \.mayWrite)
        let replies = try await durably(journal, mayWrite: mayWrite) { Self.carryOut(batch, on: &$0) }
        // Deliveries follow the change that they tell of.
        return zip(batch.operations, replies).map { operation, reply in deliver(operation) ?? reply }
    }

    /// A step that is refused as a whole while the disk fails, and waited for as configured.
    func durably<R>(_ journal: Journal, mayWrite: Bool, _ body: (inout Keyspace) -> R) async throws(StoreError) -> R {
        let (result, end) = try await admit(journal, mayWrite: mayWrite, body)
        let answer = try result.mapError { StoreError($0) }.get()
        if mayWrite, journal.configuration.sync == .always { try await journal.wait(for: .synced, end) }
        return answer
    }

    /// Carries out a step where the disk does not fail, and once no more than the bound waits for it: who writes faster than the disk
    /// takes it would fill the memory otherwise, for callers with deadlines do not wait for it afterwards.
    ///
    /// - Returns: what the body answers, or why it was refused; and where the log ends.
    /// - Throws: what ends the wait for room; nothing has been done then.
    private func admit<R>(
        _ journal: Journal, mayWrite: Bool, _ body: (inout Keyspace) -> R
    ) async throws(StoreError) -> (Result<R, ReplyError>, end: Int) {
        while true {
            let (result, end, wakes) = step { keyspace -> Result<R, ReplyError>? in
                switch mayWrite ? keyspace.writeAdmission : .granted {
                case .granted: .success(body(&keyspace))
                case .refused(let refusal): .failure(refusal)
                case .full: nil
                }
            }
            if wakes { journal.doorbell.ring() }
            if let result { return (result, end) }
            try await waitForRoom()
        }
    }

    /// Waits until what may write can be tried again (``WriteAdmission/full``): until all that waits now is written, or the disk fails.
    ///
    /// - Throws: what ends the caller's wait, with no effect.
    package func waitForRoom() async throws(StoreError) {
        guard let journal else { return }
        do throws(StoreError) {
            try await journal.wait(for: .written, keyspace.withLock { $0.log.end })
        } catch {
            // Of a disk that fails, or a folder that was closed, whoever tries again is told.
            if error.code == .deadlineExceeded || error.code == .cancelled { throw StoreError(error.code) }
        }
    }
}

extension ReplyError {
    /// What writes are told once the folder is let go of.
    static let folderIsClosed = ReplyError("MISCONF The data folder is closed")
}

extension Operation {
    /// Whether it can change something, by the command table.
    var mayWrite: Bool {
        switch self {
        case .raw(let arguments):
            guard let name = arguments.first else { return false }
            return CommandTable.shared[name]?.flags.contains(.write) ?? false
        default: return CommandTable.shared[Bytes(name)]?.flags.contains(.write) ?? false
        }
    }
}
