import HoldfastStore

/// Folders that only their user may enter.
enum PrivateFolder {
    /// Makes the folder, and those above it, where it is not there yet. The data folder may be among them, so that a power failure must not
    /// take it along.
    static func create(_ path: String) throws(StoreError) {
        do throws(DataFileError) { try FolderMaker().make(path) } catch {
            throw .invalid("HOLDFAST_DATA", "The folder for the API key cannot be made or is no folder")
        }
    }
}
