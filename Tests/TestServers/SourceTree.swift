public import Foundation

/// The package's own source files, for tests of its structure. Paths are from the package's root.
public enum SourceTree {
    public static let root: URL = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    public static func text(of path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// The Swift files under a folder, in order.
    public static func files(under folder: String) throws -> [String] {
        let start = root.appending(path: folder).path()
        let names = FileManager.default.enumerator(atPath: start)?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".swift") }.sorted().map { "\(folder)/\($0)" }
    }
}
