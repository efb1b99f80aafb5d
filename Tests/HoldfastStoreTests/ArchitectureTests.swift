import Foundation
import HoldfastStore
import Testing

/// Which target may import what, and what must be complete: read from the source files, so that a wrong line is named.
@Suite struct ArchitectureTests {
    /// What the files under a folder may not import, and why.
    struct Arrow: CustomTestStringConvertible, Sendable {
        let folder: String
        /// Module names; one that ends with `*` stands for all that begin so.
        let forbidden: [String]
        let why: String
        var testDescription: String { folder }

        func forbids(_ module: String) -> Bool {
            forbidden.contains { $0.hasSuffix("*") ? module.hasPrefix(String($0.dropLast())) : module == $0 }
        }
    }

    static let network = ["NIO*", "AsyncHTTPClient", "Hummingbird*", "HTTPTypes", "FoundationNetworking"]
    static let backends = ["HoldfastRedis", "HoldfastUpstash"]
    static let faces = ["HoldfastServer", "HoldfastHummingbird", "holdfast", "ArgumentParser"]
    static let services = ["Holdfast", "HoldfastMacros"]

    static let arrows: [Arrow] = [
        Arrow(
            folder: "Sources/HoldfastStore",
            forbidden: network + backends + services + faces + ["Foundation*", "HoldfastTesting"],
            why: "the seam needs no system library and knows nobody above it"),
        Arrow(
            folder: "Sources/Holdfast", forbidden: network + backends + faces + ["HoldfastTesting"],
            why: "services are written over the seam alone"),
        Arrow(
            folder: "Sources/HoldfastRedis",
            forbidden: services + faces + ["HoldfastUpstash", "HoldfastTesting", "AsyncHTTPClient", "Hummingbird*"],
            why: "a backend knows no service"),
        Arrow(
            folder: "Sources/HoldfastRESP",
            forbidden: services + backends + faces
                + ["HoldfastTesting", "AsyncHTTPClient", "Hummingbird*", "HTTPTypes", "Foundation*"],
            why: "it shows the embedded store as it is, and knows no service"),
        Arrow(
            folder: "Sources/HoldfastUpstash",
            forbidden: services + faces + ["HoldfastRedis", "HoldfastTesting", "Hummingbird*", "Foundation*"],
            why: "a backend knows no service"),
        Arrow(
            folder: "Sources/HoldfastTesting", forbidden: network + backends + services + faces + ["Foundation*"],
            why: "users' tests link it"),
        Arrow(
            folder: "Sources/HoldfastHummingbird",
            forbidden: backends + ["HoldfastServer", "holdfast", "HoldfastTesting", "ArgumentParser"],
            why: "it is for other people's applications, on any store"),
        Arrow(
            folder: "Sources/HoldfastServer", forbidden: ["holdfast", "ArgumentParser", "HoldfastTesting", "SwiftSyntax*"],
            why: "the server is a face on the services, and the command line one on the server"),
        Arrow(
            folder: "Sources/holdfast-cli", forbidden: ["HoldfastTesting", "SwiftSyntax*"],
            why: "what is for tests, or for macros, does not ship"),
    ]

    @Test(arguments: arrows) func importsPointOneWay(_ arrow: Arrow) throws {
        let files = try Self.files(under: arrow.folder)
        #expect(!files.isEmpty, "no sources under \(arrow.folder)")
        for file in files {
            for (number, line) in try Self.lines(of: file) {
                guard let module = Self.importedModule(line), arrow.forbids(module) else { continue }
                Issue.record("\(file):\(number): imports \(module), but \(arrow.why)")
            }
        }
    }

    @Test func onlyFacesAndTestsNameABackend() throws {
        let composers = [
            "Sources/HoldfastServer/", "Sources/holdfast-cli/", "Sources/HoldfastRedis/", "Sources/HoldfastUpstash/",
        ]
        for file in try Self.files(under: "Sources") where !composers.contains(where: file.hasPrefix) {
            for (number, line) in try Self.lines(of: file) where !Self.isComment(line) {
                if line.contains("RedisStore") || line.contains("RedisConfiguration") || line.contains("UpstashStore") {
                    Issue.record("\(file):\(number): names a backend")
                }
            }
        }
    }

    @Test func everySourceFolderHasItsArrows() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.root.appending(path: "Sources").path())
        for folder in folders where !folder.hasPrefix(".") {
            #expect(Self.arrows.contains { $0.folder == "Sources/\(folder)" }, "say what Sources/\(folder) may not import")
        }
    }

    @Test func everyErrorCodeIsRegisteredOnce() throws {
        let declaration = /static let (\w+)(?:: ErrorCode)? = (?:ErrorCode|\.init)\(\s*"([^"]+)"/
        var declared: [String] = []
        for file in try Self.files(under: "Sources/HoldfastStore") {
            let text = try String(contentsOf: Self.root.appending(path: file), encoding: .utf8)
            declared += text.matches(of: declaration).map { String($0.2) }
        }
        let registered = ErrorCode.all.map(\.name)
        #expect(declared.count > 25, "the declarations were not found")
        #expect(Set(declared).subtracting(registered) == [], "codes that ErrorCode.all does not list")
        #expect(Set(registered).subtracting(declared) == [], "listed codes whose declaration was not found")
        #expect(Set(declared).count == declared.count, "two codes of one name")
        #expect(Set(registered).count == registered.count, "a code is listed twice")
    }

    @Test func noLibraryPrintsOrGivesUp() throws {
        let banned = ["print(", "fatalError(", "try!"]
        for file in try Self.files(under: "Sources") where !file.hasPrefix("Sources/holdfast-cli/") {
            for (number, line) in try Self.lines(of: file) where !Self.isComment(line) {
                for word in banned where Self.says(line, word) {
                    Issue.record("\(file):\(number): \(word)")
                }
            }
        }
    }

    // MARK: - Reading

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    static func files(under folder: String) throws -> [String] {
        let names =
            FileManager.default.enumerator(atPath: root.appending(path: folder).path())?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".swift") }.sorted().map { "\(folder)/\($0)" }
    }

    static func lines(of file: String) throws -> [(Int, String)] {
        let text = try String(contentsOf: root.appending(path: file), encoding: .utf8)
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map {
            ($0.offset + 1, String($0.element))
        }
    }

    static func importedModule(_ line: String) -> String? {
        let pattern =
            /^\s*(?:@\S+\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|let|var|typealias)\s+)?(\w+)/
        return line.firstMatch(of: pattern).map { String($0.1) }
    }

    static func isComment(_ line: String) -> Bool { line.trimmingPrefix(while: \.isWhitespace).hasPrefix("//") }

    /// Whether the word stands there by itself, so that `blueprint(` is not `print(`.
    static func says(_ line: String, _ word: String) -> Bool {
        line.ranges(of: word).contains { range in
            guard range.lowerBound > line.startIndex else { return true }
            let before = line[line.index(before: range.lowerBound)]
            return !before.isLetter && before != "." && before != "_"
        }
    }
}
