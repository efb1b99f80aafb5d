#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Makes folders so that a power failure does not take them along: each folder that gets a new one is synced.
///
/// Otherwise the entry of a new folder may be lost, and with it every file that was synced in there. A process that was killed may have made
/// its last folder and not come to that: so the folder above the innermost one that is there already is synced too.
package struct FolderMaker {
    private let sync: (String) throws(DataFileError) -> Void

    package init() { self.init { path throws(DataFileError) in try SystemFolder.syncFolder(path) } }

    /// - Parameter sync: syncs a folder; tests are told which.
    init(sync: @escaping (String) throws(DataFileError) -> Void) { self.sync = sync }

    /// Makes the folder, and those above it, where it is not there yet, with mode 0700.
    package func make(_ path: String) throws(DataFileError) {
        var parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        let root = path.hasPrefix("/") ? "/" : ""
        var missing: [String] = []
        // From the inside out, because folders above may not be readable.
        while !parts.isEmpty {
            let folder = root + parts.joined(separator: "/")
            if Self.isFolder(folder) { break }
            missing.append(folder)
            parts.removeLast()
        }
        if !parts.isEmpty { try syncAsFarAsPossible(Self.parent(of: root + parts.joined(separator: "/"))) }
        for folder in missing.reversed() {
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw DataFileError("mkdir", folder) }
            try sync(Self.parent(of: folder))
        }
        guard Self.isFolder(path) else { throw DataFileError("open", path, ENOTDIR) }
    }

    /// Of a folder that somebody else may have made, in one that this user may not open, or on a file system that cannot do it.
    private func syncAsFarAsPossible(_ path: String) throws(DataFileError) {
        do throws(DataFileError) { try sync(path) } catch {
            guard [EACCES, EPERM, EINVAL, EROFS, ENOTSUP].contains(error.number) else { throw error }
        }
    }

    /// The folder that has the entry.
    private static func parent(of path: String) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true).dropLast()
        if path.hasPrefix("/") { return "/" + parts.joined(separator: "/") }
        return parts.isEmpty ? "." : parts.joined(separator: "/")
    }

    private static func isFolder(_ path: String) -> Bool {
        var found = stat()
        return stat(path, &found) == 0 && found.st_mode & S_IFMT == S_IFDIR
    }
}
