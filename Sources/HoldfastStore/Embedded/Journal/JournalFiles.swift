/// The files of a journal in its folder, and the one that is written to. Confined to whoever owns it.
///
/// Invariants, each of which a crash at any call keeps:
/// 1. The manifest on the disk names files that are there, and what they hold, in order, is a state that there was.
/// 2. A file is named by a manifest only after it was made, and removed only after a manifest without it is durable.
/// 3. Sequence numbers are not used twice, so that a file which an older manifest may still name is never overwritten.
/// 4. Something is written behind a rotation only after everything in front of it was synced.
struct JournalFiles {
    let folder: any DataFolder
    private(set) var manifest: JournalManifest
    /// The sizes of the manifest's files other than the current one.
    private(set) var otherBytes: Int
    private(set) var current: any DataFile
    /// Where the current file ends, and up to where it is known to be on the disk.
    private(set) var offset: Int
    private(set) var syncedOffset: Int
    private var lastBase: Int
    private var lastIncrement: Int

    var bytes: Int { otherBytes + offset }

    /// Reads the manifest; an empty one where the folder has no journal yet.
    static func readManifest(_ folder: any DataFolder) throws(StoreError) -> JournalManifest {
        do {
            let names = try folder.names()
            guard names.contains(JournalManifest.name) else {
                // A crash before the first manifest leaves an empty file.
                for name in names where name.hasSuffix(".aof") || name.hasSuffix(".manifest") || name.hasSuffix(".rdb") {
                    guard try folder.open(name, .existing).size() == 0 || name.hasPrefix("temp-") else {
                        throw StoreError(
                            .dataUnreadable, "The folder holds \(name) but no \(JournalManifest.name), which says how to read it",
                            field: "HOLDFAST_DATA")
                    }
                }
                return JournalManifest()
            }
            return try JournalManifest(parsing: String(decoding: try contents(folder, JournalManifest.name), as: UTF8.self))
        } catch let error as ManifestError {
            throw StoreError(
                .dataUnreadable, "\(JournalManifest.name) line \(error.line) is not as Redis writes it", field: "HOLDFAST_DATA")
        } catch {
            throw error as? StoreError ?? StoreError(.dataUnreadable, "\(error)", field: "HOLDFAST_DATA")
        }
    }

    private static func contents(_ folder: any DataFolder, _ name: String) throws(DataFileError) -> [UInt8] {
        let file = try folder.open(name, .existing)
        // A manifest has a few lines; what is longer is none and will not parse.
        var bytes = [UInt8](repeating: 0, count: min(try file.size(), 1 << 20))
        let count = try file.read(into: &bytes, at: 0)
        return Array(bytes.prefix(count))
    }

    /// Goes on behind the last increment; makes the first one where there is none.
    ///
    /// - Parameter sizes: of the manifest's files, as they were loaded.
    init(_ folder: any DataFolder, _ manifest: JournalManifest, sizes: [Int]) throws(DataFileError) {
        self.folder = folder
        self.manifest = manifest
        lastBase = manifest.nextBase.sequence - 1
        lastIncrement = manifest.nextIncrement.sequence - 1
        if let last = manifest.increments.last {
            current = try folder.open(last.name, .existing)
            offset = sizes.last ?? 0
            otherBytes = sizes.dropLast().reduce(0, +)
            syncedOffset = 0
            try Self.sync(manifest, sizes, in: folder)
            syncedOffset = offset
            try folder.sync()
        } else {
            try Self.sync(manifest, sizes, in: folder)
            let first = JournalManifest.increment(lastIncrement + 1)
            current = try folder.open(first.name, .new)
            (offset, syncedOffset, otherBytes) = (0, 0, sizes.reduce(0, +))
            lastIncrement += 1
            var next = manifest
            next.increments = [first]
            // Redis wants a base before increments, be it an empty one.
            if next.base == nil {
                let base = JournalManifest.base(lastBase + 1)
                lastBase += 1
                try folder.open(base.name, .new).sync()
                next.base = base
            }
            try persist(next)
        }
        removeHistory()
        try? folder.remove(JournalManifest.temporaryBaseName)
    }

    /// What was read may not be durable yet, and no file of it is built on before it is (invariant 4). Not the last one only: a process
    /// that was killed within a rotation leaves an increment that it had not synced and, behind it, the new one, which is empty. Of what
    /// is on the disk already a sync costs nothing.
    private static func sync(_ manifest: JournalManifest, _ sizes: [Int], in folder: any DataFolder) throws(DataFileError) {
        for (file, size) in zip(manifest.files, sizes) where size > 0 { try folder.open(file.name, .existing).sync() }
    }

    // MARK: - The current file

    /// Writes the bytes from `position` on behind what is there, and moves `position` as far as it comes.
    mutating func append(_ bytes: [UInt8], from position: inout Int) throws(DataFileError) {
        let start = position
        defer { offset += position - start }
        try current.append(bytes, from: &position, at: offset)
    }

    mutating func sync() throws(DataFileError) {
        guard syncedOffset < offset else { return }
        try current.sync()
        syncedOffset = offset
    }

    /// Cuts off what is not known to be on the disk. After a failed fsync the system may have forgotten it, or parts of it, while it
    /// shows it still.
    mutating func cutUnsynced() {
        guard syncedOffset < offset else { return }
        if (try? current.truncate(to: syncedOffset)) != nil { offset = syncedOffset }
    }

    // MARK: - Rotation

    /// What a rewrite makes: a base, and the increment behind it.
    struct Rotation {
        let base: JournalManifest.File
        let increment: JournalManifest.File
        let file: any DataFile
    }

    /// Makes the increment of a rotation. Nothing is written to it before ``turn(to:)``.
    mutating func prepareRotation() throws(DataFileError) -> Rotation {
        lastBase += 1
        lastIncrement += 1
        let increment = JournalManifest.increment(lastIncrement)
        return Rotation(
            base: JournalManifest.base(lastBase), increment: increment, file: try folder.open(increment.name, .new))
    }

    /// Names the new increment behind the old ones.
    mutating func announce(_ rotation: Rotation) throws(DataFileError) {
        var next = manifest
        next.increments.append(rotation.increment)
        try persist(next)
    }

    /// From now on the new increment is written to.
    mutating func turn(to rotation: Rotation) {
        otherBytes += offset
        current = rotation.file
        (offset, syncedOffset) = (0, 0)
    }

    /// Puts the finished base, which lies under its temporary name, in place of all that stands before the rotation's increment.
    ///
    /// Where this fails the manifest on the disk may be the old or the new one; either is right, and nothing is removed.
    mutating func finish(_ rotation: Rotation, baseBytes: Int) throws(DataFileError) {
        try folder.rename(JournalManifest.temporaryBaseName, to: rotation.base.name)
        var next = JournalManifest()
        next.base = rotation.base
        next.increments = manifest.increments.filter { $0.sequence >= rotation.increment.sequence }
        if next.increments.isEmpty { next.increments = [rotation.increment] }
        next.history = manifest.history + manifest.files.filter { !next.increments.contains($0) }
        try persist(next)
        otherBytes = baseBytes
        removeHistory()
    }

    /// Removes files that nothing reads any more; what cannot be removed stays in the manifest for the next time.
    private mutating func removeHistory() {
        guard !manifest.history.isEmpty else { return }
        var next = manifest
        next.history.removeAll { (try? folder.remove($0.name)) != nil }
        try? persist(next)
    }

    private mutating func persist(_ next: JournalManifest) throws(DataFileError) {
        let file = try folder.open(JournalManifest.temporaryName, .new)
        let bytes = Array(next.text.utf8)
        var position = 0
        try file.append(bytes, from: &position, at: 0)
        try file.sync()
        try folder.rename(JournalManifest.temporaryName, to: JournalManifest.name)
        try folder.sync()
        manifest = next
    }
}
