import Crypto
public import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The API key that a server without configured ones makes for itself: kept in its data folder, readable by its user alone (0600), so
/// that the command line on the same machine finds it.
public struct APIKeyFile: Sendable {
    public static let name = "api-key"

    public let path: String

    /// - Parameter folder: the data folder.
    public init(folder: String) { path = folder.hasSuffix("/") ? folder + Self.name : "\(folder)/\(Self.name)" }

    /// A new secret: 256 random bits in 46 characters.
    public static func makeSecret() -> String {
        let bytes = SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) }
        return "hf_" + Base64URL.encode(bytes)
    }

    /// The secret that is kept, or nil where there is no file.
    /// - Throws: where the file cannot be read, holds no key, or others than its owner may read it.
    public func read() throws(StoreError) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("cannot be read")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("cannot be read") }
        guard status.st_mode & 0o077 == 0 else {
            throw StoreError(.forbidden, "The API key file can be read by others: its mode must be 0600", field: "HOLDFAST_DATA")
        }
        var buffer = [UInt8](repeating: 0, count: 512)
        let count = buffer.withUnsafeMutableBytes { readBytes(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { throw failure("holds no key") }
        let secret = String(decoding: buffer[..<count], as: UTF8.self).filter { !$0.isWhitespace }
        guard !secret.isEmpty else { throw failure("holds no key") }
        return secret
    }

    /// The secret that is kept, or a new one, which is kept from now on.
    /// - Returns: the secret, and whether it is new: the one moment at which it is shown.
    public func readOrCreate() throws(StoreError) -> (secret: String, isNew: Bool) {
        if let secret = try read() { return (secret, false) }
        let secret = Self.makeSecret()
        // Created with its mode at once, and never over another's file: there is no moment at which others could read it.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            // Another process of this folder was faster.
            if errno == EEXIST, let secret = try read() { return (secret, false) }
            throw failure("cannot be written")
        }
        defer { close(descriptor) }
        let line = Array((secret + "\n").utf8)
        guard line.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) }) == line.count, fsync(descriptor) == 0 else {
            unlink(path)
            throw failure("cannot be written")
        }
        return (secret, true)
    }

    /// The system's `read`, which this type's own would hide.
    private func readBytes(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
            Glibc.read(descriptor, buffer, count)
        #elseif canImport(Musl)
            Musl.read(descriptor, buffer, count)
        #else
            Darwin.read(descriptor, buffer, count)
        #endif
    }

    private func failure(_ what: String) -> StoreError {
        StoreError(.internalError, "The API key file \(what)", field: "HOLDFAST_DATA")
    }
}
