import Foundation
public import HoldfastStore

/// A file that holds a password, as secret managers put one there. It is read anew whenever the password is needed, so that it can change
/// while the process runs.
public struct PasswordFile: Sendable, Hashable {
    /// Longer ones are no passwords.
    public static let maximumBytes = 4096

    public let path: String

    public init(path: String) { self.path = path }

    /// What the file holds, without the line end that editors leave at its end.
    ///
    /// - Throws: ``HoldfastStore/ErrorCode/invalidArgument`` saying what is wrong with the file; nothing of its content.
    public func read() throws(StoreError) -> String {
        let place = URL(filePath: path).resolvingSymlinksInPath().path
        // Opening a pipe would wait for its writer.
        let kind = (try? FileManager.default.attributesOfItem(atPath: place))?[.type] as? FileAttributeType
        guard kind == .typeRegular, let file = FileHandle(forReadingAtPath: place) else {
            throw problem("is no file that can be read")
        }
        var bytes = Data()
        do { bytes = try file.read(upToCount: Self.maximumBytes + 3) ?? bytes } catch { throw problem("cannot be read") }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard bytes.count <= Self.maximumBytes else { throw problem("has more than \(Self.maximumBytes) bytes") }
        guard !bytes.isEmpty else { throw problem("is empty") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw problem("is no UTF-8 text") }
        return text
    }

    private func problem(_ what: String) -> StoreError {
        .invalid("REDIS_PASSWORD_FILE", "REDIS_PASSWORD_FILE: \(path) \(what)")
    }
}
