#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A folder of the machine's file system. Folders that it makes have mode 0700, files 0600.
struct SystemFolder: DataFolder {
    let path: String

    /// Makes the folder, and those above it, where it is not there yet; see ``FolderMaker``.
    init(making path: String) throws(DataFileError) {
        self.path = path
        try FolderMaker().make(path)
    }

    static func syncFolder(_ path: String) throws(DataFileError) { try SystemFile(path, O_RDONLY).sync() }

    func open(_ name: String, _ mode: DataFileMode) throws(DataFileError) -> any DataFile {
        try SystemFile(path + "/" + name, mode == .new ? O_RDWR | O_CREAT | O_TRUNC : O_RDWR)
    }

    func names() throws(DataFileError) -> [String] {
        guard let folder = opendir(path) else { throw DataFileError("opendir", path) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    func rename(_ old: String, to new: String) throws(DataFileError) {
        #if canImport(Glibc)
            let result = Glibc.rename(path + "/" + old, path + "/" + new)
        #elseif canImport(Musl)
            let result = Musl.rename(path + "/" + old, path + "/" + new)
        #else
            let result = Darwin.rename(path + "/" + old, path + "/" + new)
        #endif
        guard result == 0 else { throw DataFileError("rename", old) }
    }

    func remove(_ name: String) throws(DataFileError) {
        guard unlink(path + "/" + name) == 0 || errno == ENOENT else { throw DataFileError("unlink", name) }
    }

    func sync() throws(DataFileError) { try Self.syncFolder(path) }
}

/// A file of the machine's file system.
final class SystemFile: DataFile {
    private let descriptor: Int32
    private let path: String

    init(_ path: String, _ flags: Int32) throws(DataFileError) {
        var result: Int32
        repeat {
            #if canImport(Glibc)
                result = Glibc.open(path, flags | O_CLOEXEC, 0o600)
            #elseif canImport(Musl)
                result = Musl.open(path, flags | O_CLOEXEC, 0o600)
            #else
                result = Darwin.open(path, flags | O_CLOEXEC, 0o600)
            #endif
        } while result < 0 && errno == EINTR
        guard result >= 0 else { throw DataFileError("open", path) }
        descriptor = result
        self.path = path
    }

    deinit { close(descriptor) }

    func size() throws(DataFileError) -> Int {
        var found = stat()
        guard fstat(descriptor, &found) == 0 else { throw DataFileError("fstat", path) }
        return Int(found.st_size)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DataFileError) -> Int {
        var count: Int
        repeat { count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset)) } while count < 0 && errno == EINTR
        guard count >= 0 else { throw DataFileError("read", path) }
        return count
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(DataFileError) -> Int {
        var count: Int
        repeat { count = pwrite(descriptor, bytes.baseAddress, bytes.count, off_t(offset)) } while count < 0 && errno == EINTR
        guard count >= 0 else { throw DataFileError("write", path) }
        return count
    }

    func sync() throws(DataFileError) {
        var result: Int32
        repeat {
            #if canImport(Darwin)
                // fsync leaves the data in the drive's cache there.
                result = fcntl(descriptor, F_FULLFSYNC)
            #else
                result = fdatasync(descriptor)
            #endif
        } while result < 0 && errno == EINTR
        guard result >= 0 else { throw DataFileError("fsync", path) }
    }

    func truncate(to size: Int) throws(DataFileError) {
        var result: Int32
        repeat { result = ftruncate(descriptor, off_t(size)) } while result < 0 && errno == EINTR
        guard result == 0 else { throw DataFileError("ftruncate", path) }
    }

    /// Takes the lock that only one process can hold; false where another has it. It goes with the file.
    func lock() throws(DataFileError) -> Bool {
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        guard errno == EWOULDBLOCK || errno == EINTR else { throw DataFileError("flock", path) }
        return false
    }

    func unlock() { flock(descriptor, LOCK_UN) }
}

extension DataFileError {
    /// The last failure of a system call.
    init(_ call: String, _ path: String, _ number: Int32 = errno) {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        self.init(number: number, call: call, file: name, reason: String(cString: strerror(number)))
    }
}
