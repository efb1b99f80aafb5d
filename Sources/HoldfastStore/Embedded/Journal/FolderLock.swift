#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Keeps other processes out of a data folder for as long as it lives. The system takes the lock back when the process ends,
/// however it ends.
public final class FolderLock: Sendable {
    private static let name = "holdfast.lock"
    private let file: SystemFile

    /// Makes the folder where there is none, and locks it.
    ///
    /// - Throws: ``ErrorCode/folderInUse`` where another process has it, ``ErrorCode/storageFailed`` where it cannot be made or
    ///   entered.
    public init(_ path: String) throws(StoreError) {
        do throws(DataFileError) {
            _ = try SystemFolder(making: path)
            file = try SystemFile("\(path)/\(Self.name)", O_RDWR | O_CREAT)
            if try file.lock() {
                try writeOwner()
                return
            }
        } catch {
            throw StoreError(.storageFailed, "The data folder \(path) cannot be used: \(error)", field: "HOLDFAST_DATA")
        }
        let owner = file.owner.map { "process \($0)" } ?? "another process"
        throw StoreError(.folderInUse, "The data folder \(path) is in use by \(owner)", field: "HOLDFAST_DATA")
    }

    /// Gives the folder free at once, not when the last who knows of the lock lets go of it.
    ///
    /// By word: closing the file does not do while a child that is being started has a copy of it.
    func release() { file.unlock() }

    deinit { release() }

    private func writeOwner() throws(DataFileError) {
        try file.truncate(to: 0)
        let bytes = Array("\(getpid())\n".utf8)
        // Only for people: what decides is the lock.
        _ = try? bytes.withUnsafeBytes { try file.write($0, at: 0) }
    }
}

extension SystemFile {
    fileprivate var owner: Int? {
        var bytes = [UInt8](repeating: 0, count: 20)
        let count = (try? bytes.withUnsafeMutableBytes { try read(into: $0, at: 0) }) ?? 0
        return Int(String(decoding: bytes.prefix(count), as: UTF8.self).prefix { $0.isNumber })
    }
}
