import HoldfastStore
import Logging

/// Says what the journal has to tell.
struct JournalLog: Sendable {
    let logger: Logger
    let folder: String

    func note(_ load: JournalLoad) {
        logger.info(
            "the data folder was read",
            metadata: ["folder": "\(folder)", "aof.commands": "\(load.commands)", "aof.bytes": "\(load.bytes)"])
        guard let cut = load.cut else { return }
        logger.warning(
            "the last file ended within a command, as a crash leaves it; that part was cut off",
            metadata: [
                "folder": "\(folder)", "aof.file": "\(cut.file)", "aof.offset": "\(cut.offset)", "aof.cut_bytes": "\(cut.bytes)",
            ])
    }

    @Sendable func note(_ event: JournalEvent) {
        switch event {
        case .failed(let error):
            logger.error(
                "the data folder cannot be written; writes are refused until it can",
                metadata: ["folder": "\(folder)", "error": "\(error)"])
        case .recovered: logger.notice("the data folder can be written again", metadata: ["folder": "\(folder)"])
        case .rewritten(let bytes):
            logger.info("the append-only file was rewritten", metadata: ["folder": "\(folder)", "aof.bytes": "\(bytes)"])
        case .rewriteFailed(let error):
            logger.warning(
                "the append-only file could not be rewritten; the old one stays valid",
                metadata: ["folder": "\(folder)", "error": "\(error)"])
        }
    }
}
