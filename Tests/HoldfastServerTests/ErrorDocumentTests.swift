import Foundation
import HoldfastStore
import TestServers
import Testing

/// Pages that list what the sources list.
@Suite struct ErrorDocumentTests {
    /// The cells of the rows whose first cell is code, without the table's edges.
    private func rows(_ text: String) -> [[String]] {
        text.split(separator: "\n").filter { $0.hasPrefix("| ") }.map { line in
            line.replacing("\\|", with: "/").split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }

    @Test func everyCodeHasOneRowThatSaysWhatToDo() throws {
        let source = try SourceTree.text(of: "Sources/HoldfastStore/Seam/ErrorCode.swift")
        let codes = source.matches(of: /ErrorCode\(\s*"([a-z-]+)"/).map { String($0.output.1) }
        #expect(codes.count > 40 && Set(codes).count == codes.count, "\(codes)")
        let rows = rows(try SourceTree.text(of: "docs/errors.md")).filter { $0.first?.hasPrefix("`") == true }
        let documented = rows.map { $0[0].trimmingCharacters(in: CharacterSet(charactersIn: "`")) }
        #expect(documented.sorted() == codes.sorted())
        for row in rows {
            #expect(row.count == 3 && row.allSatisfy { $0.count > 1 }, "\(row.first ?? ""): the code, what it means, what to do")
        }
    }

    @Test func whatTheEmbeddedStoreIsSaidNotToHaveItHasNot() throws {
        let page = try SourceTree.text(of: "docs/connecting/resp.md")
        let start = try #require(page.firstRange(of: "## What it has not")).upperBound
        let names = page[start...].matches(of: /`([A-Z_.]+)`/).map { String($0.output.1) }
        #expect(names.count > 30, "\(names)")
        for name in names { #expect(CommandTable.shared[Bytes(name)] == nil, "\(name)") }
    }
}
