import HoldfastStore
import Logging

/// The outbox that the settings ask for: in the data folder, or in memory where there is none.
///
/// Its entries stand in a store of their own, `outbox` within the data folder, whose every change is synced before it is acknowledged,
/// whatever HOLDFAST_APPENDFSYNC says of the cache.
struct ConfiguredOutbox: Sendable {
    let outbox: Outbox
    /// Nil in memory.
    private let store: EmbeddedStore?

    /// Opens its folder, where it has one.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/folderInUse`` and the other errors of `EmbeddedStore.open`, naming HOLDFAST_DATA.
    init(_ configuration: HoldfastConfiguration, logger: Logger) async throws(StoreError) {
        store = try await Self.store(configuration, logger)
        outbox = Outbox(keptIn: store, configuration: configuration.outbox) { letter in
            // Neither its keys nor its arguments: among them are session ids.
            logger.warning(
                "the server refused what had been decided while it was away; it is kept as a dead letter",
                metadata: [
                    "outbox.entry": "\(letter.entry.number)", "outbox.action": "\(letter.entry.action)",
                    "error.code": "\(letter.code)", "accepted": "\(letter.entry.accepted.rfc3339)",
                ])
        }
    }

    private static func store(
        _ configuration: HoldfastConfiguration, _ logger: Logger
    ) async throws(StoreError) -> EmbeddedStore? {
        guard let folder = configuration.outboxFolder else { return nil }
        var journal = configuration.server.journal
        journal.sync = .always
        let log = JournalLog(logger: logger, folder: folder)
        let store = try await EmbeddedStore.open(folder, journal: journal, observer: log.note)
        if let load = store.journalStatus?.load { log.note(load) }
        return store
    }

    /// Reads what an earlier process left for the server; after the services have said how it is carried out.
    func load(into local: any Store, logger: Logger) async throws(StoreError) {
        try await outbox.load(into: local)
        let status = outbox.status
        guard status.backlog + status.deadLetters > 0 else { return }
        logger.notice(
            "an earlier process left work for the server",
            metadata: ["outbox.entries": "\(status.backlog)", "outbox.dead_letters": "\(status.deadLetters)"])
    }

    func close() async throws(StoreError) { try await store?.close() }
}
