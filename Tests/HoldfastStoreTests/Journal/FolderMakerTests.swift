import Foundation
import Testing

@testable import HoldfastStore

/// Which folders are synced when folders are made. That a sync holds is the system's affair.
@Suite struct FolderMakerTests {
    private let base = FileManager.default.temporaryDirectory.path + "/holdfast-\(UUID().uuidString)"

    private func make(_ path: String, failing number: Int32? = nil, at place: Int = 0) throws -> [String] {
        var synced: [String] = []
        let maker = FolderMaker { folder throws(DataFileError) in
            synced.append(folder)
            if let number, synced.count - 1 == place { throw DataFileError("fsync", folder, number) }
        }
        try maker.make(path)
        return synced
    }

    private func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    @Test func everyFolderThatGetsANewOneIsSynced() throws {
        defer { try? FileManager.default.removeItem(atPath: base) }
        let root = FileManager.default.temporaryDirectory.path
        let above = (root as NSString).deletingLastPathComponent
        #expect(try make(base + "/a/b/") == [above, root, base, base + "/a"])
        // A process that was killed may have made it, and no more.
        #expect(try make(base + "/a/b") == [base + "/a"])
        #expect(try make(base + "/a//b/c") == [base + "/a", base + "/a/b"])
        #expect(isThere(base + "/a/b/c"))
    }

    @Test func aRelativePathBeginsWhereTheProcessIs() throws {
        let name = "holdfast-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: name) }
        #expect(try make(name + "/a") == [".", name])
    }

    @Test func aFolderThatCannotBeSyncedIsAFailureWhereItHasGotANewOne() throws {
        defer { try? FileManager.default.removeItem(atPath: base) }
        for number in [EIO, EACCES] {
            let error = #expect(throws: DataFileError.self) { try make(base + "/a", failing: number, at: 2) }
            #expect(error?.number == number)
            try FileManager.default.removeItem(atPath: base)
        }
        _ = try make(base)
        // Above what was there: somebody else's, perhaps, but not where the disk fails.
        #expect(try make(base, failing: EACCES).count == 1)
        #expect(throws: DataFileError.self) { try make(base, failing: EIO) }
    }

    @Test func aFileInTheWayIsNamed() throws {
        defer { try? FileManager.default.removeItem(atPath: base) }
        try Data().write(to: URL(fileURLWithPath: base))
        let error = #expect(throws: DataFileError.self) { try make(base) }
        #expect(error?.number == ENOTDIR)
    }
}
