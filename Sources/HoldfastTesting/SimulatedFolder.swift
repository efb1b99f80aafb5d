public import HoldfastStore

/// A data folder in memory that behaves like a disk at its worst: what was not synced can be lost, or torn, and any call can fail.
///
///     let disk = SimulatedFolder()
///     let store = try await EmbeddedStore.open(in: disk, journal: JournalConfiguration(sync: .always))
///     disk.fail(after: 12)                       // the 13th call from here on fails, and all that follow
///     disk.heal()
///     let rest = disk.afterPowerFailure(seed: 1) // what a power failure now would leave
public final class SimulatedFolder: DataFolder {
    /// What a call that fails does.
    public enum Failure: Sendable, Hashable, CaseIterable {
        /// ENOSPC: a write takes half of what it is given, the next one nothing. Calls that need no room work.
        case full
        /// EIO: every call fails, and a sync loses what it should have kept, as Linux does.
        case broken
        /// EIO of one call, with the same loss: those behind it work.
        case brokenOnce
    }

    private struct State {
        var files: [String: Contents] = [:]
        /// The names that are durable.
        var durable: [String: Contents] = [:]
        /// The changes of names since then, in order.
        var renamings: [[String: Contents]] = []
        var calls = 0
        var failsAfter: Int?
        var failure = Failure.broken
        var failures = 0
        var watched: (call: Int, body: @Sendable (SimulatedFolder) -> Void)?
        var isStalled = false
    }

    /// A file's bytes, under whatever name.
    fileprivate final class Contents: Sendable {
        struct State {
            var bytes: [UInt8] = []
            var durable: [UInt8] = []
            /// What a failed sync has forgotten: it reads well, and will never be on the disk unless it is written again.
            var lost: Range<Int>?
        }
        let state = Locked(State())
    }

    private let state = Locked(State())
    private let goesOn = Doorbell()
    /// Held while bytes of a file change, and while a copy of all files is made: files change one after the other, and a copy of one moment
    /// must not have the later change without the earlier.
    /// Not `Void`: a state without size would share its address with the lock, which the thread sanitizer takes for a race.
    fileprivate let moment = Locked(false)

    public init() {}

    // MARK: - Faults

    /// How many calls there have been.
    public var calls: Int { state.withLock { $0.calls } }
    /// How many of them failed.
    public var failures: Int { state.withLock { $0.failures } }

    /// From now on `count` more calls work; those behind them fail until ``heal()``.
    public func fail(after count: Int, _ failure: Failure = .broken) {
        state.withLock { state in
            state.failsAfter = state.calls + count
            state.failure = failure
        }
    }

    public func heal() { state.withLock { $0.failsAfter = nil } }

    /// From now on each call waits until ``goOn()``: a disk that hangs.
    public func stall() { state.withLock { $0.isStalled = true } }

    public func goOn() {
        state.withLock { $0.isStalled = false }
        goesOn.ring()
    }

    private func waitWhileStalled() {
        while state.withLock({ $0.isStalled }) { goesOn.wait(atMost: nil) }
        // A bell wakes one, who wakes the next.
        goesOn.ring()
    }

    /// Does something right before the call with this number, the first being 1: look at what the process would leave if it died there.
    public func before(call: Int, _ body: @escaping @Sendable (SimulatedFolder) -> Void) {
        state.withLock { $0.watched = (call, body) }
    }

    /// Counts a call; answers how it fails, nil where it works.
    fileprivate func enter(needsRoom: Bool = false) -> Failure? {
        waitWhileStalled()
        let watcher = state.withLock { state in state.watched.flatMap { $0.call == state.calls + 1 ? $0.body : nil } }
        watcher?(self)
        return state.withLock { state in
            state.calls += 1
            guard let limit = state.failsAfter, state.calls > limit, state.failure != .full || needsRoom else { return nil }
            if state.failure == .brokenOnce { state.failsAfter = nil }
            state.failures += 1
            return state.failure
        }
    }

    fileprivate func change(_ contents: Contents, _ body: (inout Contents.State) -> Void) {
        moment.withLock { _ in contents.state.withLock { body(&$0) } }
    }

    fileprivate func check(_ call: String, _ name: String, needsRoom: Bool = false) throws(DataFileError) {
        if let failure = enter(needsRoom: needsRoom) { throw Self.error(failure, call, name) }
    }

    fileprivate static func error(_ failure: Failure, _ call: String, _ name: String) -> DataFileError {
        switch failure {
        case .full: DataFileError(number: 28, call: call, file: name, reason: "No space left on device")
        case .broken, .brokenOnce: DataFileError(number: 5, call: call, file: name, reason: "Input/output error")
        }
    }

    // MARK: - Deaths of the process

    /// A folder as the death of the process now would leave this one: with all that was written, whether it was synced or not, for the
    /// system goes on. This folder goes on as it is.
    public func afterProcessDeath() -> SimulatedFolder {
        let rest = SimulatedFolder()
        // A file has one identity under all its names.
        var copies: [ObjectIdentifier: Contents] = [:]
        func copy(_ names: [String: Contents]) -> [String: Contents] {
            names.mapValues { contents in
                if let copy = copies[ObjectIdentifier(contents)] { return copy }
                let copy = Contents()
                copy.state.withLock { [now = contents.state.withLock { $0 }] state in state = now }
                copies[ObjectIdentifier(contents)] = copy
                return copy
            }
        }
        let (ours, kept, later) = moment.withLock { _ in
            let (files, durable, renamings) = state.withLock { ($0.files, $0.durable, $0.renamings) }
            return (copy(files), copy(durable), renamings.map(copy))
        }
        rest.state.withLock { state in (state.files, state.durable, state.renamings) = (ours, kept, later) }
        return rest
    }

    // MARK: - Power failures

    /// A folder as a power failure now might leave this one: with the names that were synced or some of the later ones, and of each
    /// file what was synced and a part of what was not. This folder goes on as it is.
    public func afterPowerFailure(seed: UInt64) -> SimulatedFolder {
        var random = RandomSource(seed: seed)
        let rest = SimulatedFolder()
        let remains = moment.withLock { _ in
            let names = state.withLock { ([$0.durable] + $0.renamings).randomElement(using: &random) ?? [:] }
            return names.sorted { $0.key < $1.key }.map { name, contents in
                (name, contents.state.withLock { $0.remains(using: &random) })
            }
        }
        for (name, bytes) in remains {
            let kept = Contents()
            kept.state.withLock { $0 = Contents.State(bytes: bytes, durable: bytes) }
            rest.state.withLock { state in
                state.files[name] = kept
                state.durable[name] = kept
            }
        }
        return rest
    }

    /// The bytes of a file; nil where there is none.
    public func bytes(of name: String) -> [UInt8]? {
        state.withLock { $0.files[name] }.map { contents in contents.state.withLock { $0.bytes } }
    }

    /// Puts a file there, durably.
    public func put(_ bytes: [UInt8], as name: String) {
        let contents = Contents()
        contents.state.withLock { $0 = Contents.State(bytes: bytes, durable: bytes) }
        state.withLock { state in
            state.files[name] = contents
            state.durable[name] = contents
            for place in state.renamings.indices { state.renamings[place][name] = contents }
        }
    }

    // MARK: - A folder

    public func open(_ name: String, _ mode: DataFileMode) throws(DataFileError) -> any DataFile {
        try check("open", name, needsRoom: mode == .new)
        let contents = state.withLock { state -> Contents? in
            if let contents = state.files[name] { return contents }
            guard mode == .new else { return nil }
            let contents = Contents()
            state.files[name] = contents
            state.renamings.append(state.files)
            return contents
        }
        guard let contents else {
            throw DataFileError(number: 2, call: "open", file: name, reason: "No such file or directory")
        }
        if mode == .new { change(contents) { $0.bytes = [] } }
        return SimulatedFile(folder: self, name: name, contents: contents)
    }

    public func names() throws(DataFileError) -> [String] {
        try check("opendir", ".")
        return state.withLock { $0.files.keys.sorted() }
    }

    public func rename(_ old: String, to new: String) throws(DataFileError) {
        try check("rename", old)
        let isThere = state.withLock { state -> Bool in
            guard let contents = state.files.removeValue(forKey: old) else { return false }
            state.files[new] = contents
            state.renamings.append(state.files)
            return true
        }
        guard isThere else { throw DataFileError(number: 2, call: "rename", file: old, reason: "No such file or directory") }
    }

    public func remove(_ name: String) throws(DataFileError) {
        try check("unlink", name)
        state.withLock { state in
            if state.files.removeValue(forKey: name) != nil { state.renamings.append(state.files) }
        }
    }

    public func sync() throws(DataFileError) {
        try check("fsync", ".")
        state.withLock { state in
            state.durable = state.files
            state.renamings = []
        }
    }
}

extension SimulatedFolder.Contents.State {
    /// What a power failure leaves: all that is durable, and of what is not a part, of which the last piece may be zeros.
    fileprivate func remains(using random: inout RandomSource) -> [UInt8] {
        guard bytes.starts(with: durable) else { return Bool.random(using: &random) ? bytes : durable }
        let kept = Int.random(in: durable.count...bytes.count, using: &random)
        let zeros = Int.random(in: 0..<4, using: &random) == 0 ? Int.random(in: 0...(bytes.count - kept), using: &random) : 0
        return bytes[..<kept] + [UInt8](repeating: 0, count: zeros)
    }
}

/// A file of a ``SimulatedFolder``.
private final class SimulatedFile: DataFile {
    private let folder: SimulatedFolder
    private let name: String
    private let contents: SimulatedFolder.Contents

    init(folder: SimulatedFolder, name: String, contents: SimulatedFolder.Contents) {
        self.folder = folder
        self.name = name
        self.contents = contents
    }

    func size() throws(DataFileError) -> Int {
        try folder.check("fstat", name)
        return contents.state.withLock { $0.bytes.count }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DataFileError) -> Int {
        try folder.check("read", name)
        return contents.state.withLock { contents in
            let part = contents.bytes.dropFirst(offset).prefix(buffer.count)
            buffer.copyBytes(from: part)
            return part.count
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(DataFileError) -> Int {
        let failure = folder.enter(needsRoom: true)
        // A disk that gets full takes the beginning.
        let taken = failure == .full ? bytes.count / 2 : bytes.count
        if let failure, failure != .full || taken == 0 { throw SimulatedFolder.error(failure, "write", name) }
        folder.change(contents) { contents in
            if contents.bytes.count < offset {
                contents.bytes.append(contentsOf: repeatElement(0, count: offset - contents.bytes.count))
            }
            let overwritten = min(taken, contents.bytes.count - offset)
            contents.bytes.replaceSubrange(offset..<(offset + overwritten), with: bytes[..<taken])
            if let lost = contents.lost, offset <= lost.lowerBound {
                contents.lost = offset + taken < lost.upperBound ? max(lost.lowerBound, offset + taken)..<lost.upperBound : nil
            }
        }
        return taken
    }

    func sync() throws(DataFileError) {
        let failure = folder.enter()
        folder.change(contents) { contents in
            guard failure == nil else {
                contents.lost = min(contents.durable.count, contents.lost?.lowerBound ?? .max)..<contents.bytes.count
                return
            }
            contents.durable = contents.bytes
            if let lost = contents.lost?.clamped(to: contents.bytes.indices) {
                contents.durable.replaceSubrange(lost, with: repeatElement(0, count: lost.count))
            }
        }
        if let failure { throw SimulatedFolder.error(failure, "fsync", name) }
    }

    func truncate(to size: Int) throws(DataFileError) {
        try folder.check("ftruncate", name)
        folder.change(contents) { contents in
            contents.bytes = Array(contents.bytes.prefix(size))
            contents.durable = Array(contents.durable.prefix(size))
            if let lost = contents.lost {
                contents.lost = size <= lost.lowerBound ? nil : lost.lowerBound..<min(size, lost.upperBound)
            }
        }
    }
}
