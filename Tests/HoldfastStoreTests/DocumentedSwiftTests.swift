import Foundation
import HoldfastStore
import Testing

/// The Swift of the pages: each of their blocks stands in a test file too, where it is compiled, and run where that needs nobody.
///
/// In the test file the copy stands between two comments that name the page:
///
///     // begin docs/connecting/cluster.md
///     …
///     // end docs/connecting/cluster.md
///
/// The lines must be the same but for white space; those that import stand at the file's head.
@Suite struct DocumentedSwiftTests {
    /// Some lines of Swift, as they are compared.
    struct Fragment: Hashable {
        var imports: Set<String> = []
        var lines: [String] = []

        init(_ text: [String]) {
            for line in text.map(Self.normal) {
                if line.hasPrefix("import ") { imports.insert(line) } else { lines.append(line) }
            }
            lines = Array(lines.trimmingPrefix(while: \.isEmpty))
            while lines.last?.isEmpty == true { lines.removeLast() }
        }

        /// Without indentation, and with one space where there are several: a page aligns its comments, the formatter does not.
        static func normal(_ line: String) -> String { line.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
    }

    /// The blocks of a page that say that they are Swift.
    static func blocks(_ page: [String]) -> [Fragment] {
        var blocks: [Fragment] = []
        var open: [String]?
        for line in page.map({ $0.trimmingPrefix(while: \.isWhitespace) }) {
            switch (open, line) {
            case (nil, "```swift"): open = []
            case (let lines?, "```"):
                blocks.append(Fragment(lines))
                open = nil
            case (let lines?, _): open = lines + [String(line)]
            case (nil, _): break
            }
        }
        return blocks
    }

    /// The copies that a test file holds, by page.
    static func copies(_ file: [String]) -> [(page: String, fragment: Fragment)] {
        let imports = file.map(Fragment.normal).filter { $0.hasPrefix("import ") }
        var copies: [(page: String, fragment: Fragment)] = []
        var open: (page: String, lines: [String])?
        for line in file {
            let words = Fragment.normal(line).split(separator: " ").map(String.init)
            if words.count == 3, words[0] == "//", words[1] == "begin" {
                open = (words[2], [])
            } else if let (page, lines) = open, words == ["//", "end", page] {
                copies.append((page, Fragment(imports + lines)))
                open = nil
            } else {
                open?.lines.append(line)
            }
        }
        return copies
    }

    /// Whether a copy is of this block. More may be imported than the block says, because other blocks of the page came before it.
    static func isCopy(_ copy: Fragment, of block: Fragment) -> Bool {
        copy.lines == block.lines && block.imports.isSubset(of: copy.imports)
    }

    /// All pages, those of the API's documentation included.
    private static func pages() throws -> [String] {
        let root = ArchitectureTests.root
        let top = try FileManager.default.contentsOfDirectory(atPath: root.path())
        let below = ["docs", "Sources"].flatMap { folder in
            let names = FileManager.default.enumerator(atPath: root.appending(path: folder).path())?.compactMap { $0 as? String }
            return (names ?? []).map { "\(folder)/\($0)" }
        }
        return (top + below).filter { $0.hasSuffix(".md") }.sorted()
    }

    private static func lines(of path: String) throws -> [String] { try ArchitectureTests.lines(of: path).map(\.1) }

    @Test func theSwiftOfEveryPageIsCompiledWithTheTests() throws {
        let copies = try ArchitectureTests.files(under: "Tests").flatMap { Self.copies(try Self.lines(of: $0)) }
        var documented = 0
        for page in try Self.pages() {
            var unused = copies.filter { $0.page == page }.map(\.fragment)
            for block in Self.blocks(try Self.lines(of: page)) {
                documented += 1
                guard let place = unused.firstIndex(where: { Self.isCopy($0, of: block) }) else {
                    Issue.record("\(page): no test file holds this block: \(block.lines.joined(separator: "\n"))")
                    continue
                }
                unused.remove(at: place)
            }
            for copy in unused {
                Issue.record("\(page) has no such block any more: \(copy.lines.joined(separator: "\n"))")
            }
        }
        let pages = Set(try Self.pages())
        for copy in copies where !pages.contains(copy.page) { Issue.record("there is no page \(copy.page)") }
        #expect(documented > 10, "the blocks were not found")
    }

    /// What this suite is for: a page changes, and the test file does not.
    @Test func aChangedPageIsNoticed() throws {
        let page = ["Text.", "```swift", "import A", "", "let a = b      // c", "", "call(a)", "```", "```sh", "call(a)", "```"]
        let file = ["import A", "import B", "    // begin p.md", "    let a = b  // c", "", "    call(a)", "    // end p.md"]
        let block = try #require(Self.blocks(page).first)
        let copy = try #require(Self.copies(file).first)
        #expect(Self.blocks(page).count == 1 && Self.copies(file).count == 1 && copy.page == "p.md")
        #expect(Self.isCopy(copy.fragment, of: block))
        let changes = [("call(a)", "call(b)"), ("call(a)", ""), ("import A", "import C"), ("let a = b      // c", "let a = b")]
        for (line, other) in changes {
            let changed = try #require(Self.blocks(page.map { $0 == line ? other : $0 }).first)
            #expect(!Self.isCopy(copy.fragment, of: changed), "\(line) → \(other)")
        }
        #expect(Self.copies(file.filter { !$0.contains("end") }).isEmpty, "a copy without an end")
    }

    // MARK: - The store's own page

    @Test func theOverviewWorks() async throws {
        // begin Sources/HoldfastStore/HoldfastStore.docc/HoldfastStore.md
        let store: any Store = EmbeddedStore()
        let names = Namespace(prefix: "app:")
        try await store(.set(names.key("greeting"), "hello"))
        let (greeting, visits) = try await store.pipeline(.get(names.key("greeting")), .incr(names.key("visits")))
        // end Sources/HoldfastStore/HoldfastStore.docc/HoldfastStore.md
        #expect(greeting == "hello" && visits == 1)
    }
}
