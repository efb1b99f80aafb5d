/// The keys of a scan, page by page: `for try await page in store.scan(matching: glob) { … }`.
///
/// Redis's guarantee: a key that is there from the first page to the last comes at least once; one that comes or goes meanwhile may
/// or may not; a key can come twice. Pages can be empty. Each page is one round trip, asked for when the reader wants it, so a
/// reader that stops early costs nothing more, and keys that are removed while scanning disturb nothing.
public struct KeyPages: AsyncSequence, Sendable {
    public typealias Element = [Key]

    let store: any Store
    let options: ScanOptions
    let time: any TimeSource

    public struct AsyncIterator: AsyncIteratorProtocol {
        let store: any Store
        let options: ScanOptions
        let time: any TimeSource
        /// Nil when the last page has been read.
        var cursor: UInt64? = 0

        public mutating func next() async throws -> [Key]? { try await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(StoreError) -> [Key]? {
            guard let cursor else { return nil }
            // A store in this process looks at neither.
            try CallContext.checkTime(time, operation: "SCAN")
            let page = try await store(Command<ScanPage<Key>>.scan(cursor, options))
            self.cursor = page.cursor == 0 ? nil : page.cursor
            return page.elements
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(store: store, options: options, time: time) }
}

extension Store {
    /// All keys that match a glob, in pages; see ``KeyPages``.
    ///
    /// - Parameters:
    ///   - glob: which keys; nil for all. A tenant's keys are ``Namespace/glob(startingWith:)``.
    ///   - type: only keys of this type.
    ///   - pageSize: about how many keys the store looks at for one page, not how many it answers.
    ///   - time: the clocks of ``CallContext/deadline``.
    /// - Throws: ``StoreError`` while iterating: before each page ``ErrorCode/cancelled`` where the task was cancelled, and
    ///   ``ErrorCode/deadlineExceeded`` where the caller's deadline has passed.
    public func scan(
        matching glob: Bytes? = nil, type: EntryType? = nil, pageSize: Int = 500, time: any TimeSource = .system
    ) -> KeyPages {
        KeyPages(
            store: self,
            options: ScanOptions(match: glob, count: Swift.max(1, pageSize), type: type.map { Bytes($0.rawValue) }), time: time)
    }

    /// Carries out a command for each key that matches, page by page, and adds up the answers. One command a key, so that a cluster can part
    /// them.
    ///
    /// - Parameters:
    ///   - glob: which keys are looked at.
    ///   - time: the clocks of ``CallContext/deadline``.
    ///   - command: nil for a key that is not meant.
    /// - Throws: ``StoreError``, with an unknown effect once something was changed: some keys are done then, and others not.
    package func changeKeys<Output>(
        matching glob: Bytes, time: any TimeSource, _ command: (Key) -> Command<Output>?, counting count: (Output) -> Int
    ) async throws(StoreError) -> Int {
        var changed = 0
        do throws(StoreError) {
            var pages = scan(matching: glob, time: time).makeAsyncIterator()
            while let page = try await pages.next(isolation: nil) {
                let commands = page.compactMap(command)
                if commands.isEmpty { continue }
                var failure: StoreError?
                for (command, reply) in zip(commands, try await execute(Batch(.pipeline, commands.map(\.operation)))) {
                    do throws(StoreError) { changed += count(try command.output(of: reply)) } catch { failure = failure ?? error }
                }
                if let failure { throw failure }
            }
        } catch {
            throw changed > 0 ? error.withUnknownEffect() : error
        }
        return changed
    }
}
