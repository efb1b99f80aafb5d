/// The folder that a journal lives in: what the journal needs of a file system, and no more, so that tests can put one in its place
/// that loses what was not synced or fails at any call.
public protocol DataFolder: Sendable {
    /// Opens a file for reading and writing.
    /// - Parameter mode: whether it must exist already or is made anew.
    func open(_ name: String, _ mode: DataFileMode) throws(DataFileError) -> any DataFile
    /// The names of the files in it.
    func names() throws(DataFileError) -> [String]
    /// Gives a file another name, in one step; a file that had it is gone.
    func rename(_ old: String, to new: String) throws(DataFileError)
    /// Removes a file; nothing where there is none.
    func remove(_ name: String) throws(DataFileError)
    /// Makes the names durable: what was made, renamed or removed before survives a power failure.
    func sync() throws(DataFileError)
}

public enum DataFileMode: Sendable, Hashable {
    case existing
    /// Empty, whether it exists or not.
    case new
}

/// An open file. It is closed when the last reference goes.
public protocol DataFile: Sendable {
    func size() throws(DataFileError) -> Int
    /// Reads from an offset on; answers how many bytes, 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DataFileError) -> Int
    /// Writes at an offset; answers how many bytes were taken, which may be fewer than given.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(DataFileError) -> Int
    /// Makes the contents durable.
    func sync() throws(DataFileError)
    func truncate(to size: Int) throws(DataFileError)
}

extension DataFile {
    /// Writes all bytes from `position` on, the first of them at `offset`, and moves `position` as far as it comes.
    func append(_ bytes: [UInt8], from position: inout Int, at offset: Int) throws(DataFileError) {
        let start = position
        while position < bytes.count {
            let done = position
            let result: Result<Int, DataFileError> = bytes.withUnsafeBytes { buffer in
                let rest = UnsafeRawBufferPointer(rebasing: buffer[done...])
                do throws(DataFileError) { return .success(try write(rest, at: offset + done - start)) } catch {
                    return .failure(error)
                }
            }
            let count = try result.get()
            guard count > 0 else { throw DataFileError(number: 0, call: "write", file: "", reason: "nothing was taken") }
            position += count
        }
    }

    /// Reads as much as fits, or as there is; answers how many bytes.
    func read(into bytes: inout [UInt8], at offset: Int) throws(DataFileError) -> Int {
        let result: Result<Int, DataFileError> = bytes.withUnsafeMutableBytes { buffer in
            do throws(DataFileError) { return .success(try read(into: buffer, at: offset)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

/// Why a call to a ``DataFolder`` or ``DataFile`` failed.
public struct DataFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The system's error number, such as ENOSPC.
    public let number: Int32
    /// Such as `write` or `rename`.
    public let call: String
    public let file: String
    /// The system's words.
    public let reason: String

    public init(number: Int32, call: String, file: String, reason: String) {
        self.number = number
        self.call = call
        self.file = file
        self.reason = reason
    }

    public var description: String { "\(call) \(file): \(reason)" }
}
