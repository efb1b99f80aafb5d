import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Writes to a data folder until it is killed: a program for tests.
///
/// `journal-writer <folder> <appendfsync> <prefix>`. Eight tasks each set `a:<id>` and `b:<id>` in one transaction, again and again, and
/// print the id when that was acknowledged. Files are rewritten often.
@main struct JournalWriter {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 4, let sync = JournalConfiguration.Sync(rawValue: arguments[2]) else {
            throw StoreError.invalid("arguments", "folder, appendfsync, prefix")
        }
        let store = try await EmbeddedStore.open(
            arguments[1], journal: JournalConfiguration(sync: sync, rewritePercentage: 20, rewriteMinimumSize: 16 << 10))
        try await withThrowingTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    for number in 0..<1_000_000 { try await write("\(arguments[3]).\(task).\(number)", to: store) }
                }
            }
            try await group.waitForAll()
        }
    }

    private static func write(_ id: String, to store: EmbeddedStore) async throws {
        _ = try await store.execute(
            Batch(
                .transaction,
                [
                    .strings(.set(Key(raw: Bytes("a:\(id)")), Bytes(id), SetOptions())),
                    .strings(.set(Key(raw: Bytes("b:\(id)")), Bytes(id), SetOptions())),
                ]))
        // One call for one line: it is there whole, or not at all, however the process ends.
        let line = Array("\(id)\n".utf8)
        line.withUnsafeBytes { bytes in
            #if canImport(Glibc)
                _ = Glibc.write(1, bytes.baseAddress, bytes.count)
            #elseif canImport(Musl)
                _ = Musl.write(1, bytes.baseAddress, bytes.count)
            #else
                _ = Darwin.write(1, bytes.baseAddress, bytes.count)
            #endif
        }
    }
}
