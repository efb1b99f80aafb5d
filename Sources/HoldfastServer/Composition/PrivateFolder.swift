import Foundation
import HoldfastStore

/// Folders that only their user may enter.
enum PrivateFolder {
    /// Makes the folder, and those above it, where it is not there yet.
    static func create(_ path: String) throws(StoreError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw .invalid("HOLDFAST_DATA", "The folder for the API key cannot be made or is no folder")
        }
    }
}
