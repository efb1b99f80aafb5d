import Foundation
import Testing

@testable import HoldfastServer

/// `docs/CONFIGURATION.md` says what the code does.
@Suite struct ConfigurationDocumentTests {
    private static func document() throws -> [String] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/CONFIGURATION.md"), encoding: .utf8)
        return text.split(separator: "\n").map(String.init)
    }

    /// A setting as a row of the document.
    private static func row(_ setting: Setting) -> String {
        let names = setting.names.map { "`\($0)`" }.joined(separator: " ")
        return "| \(names) | \(setting.defaultText) | \(setting.summary) | \(setting.accepted) |"
    }

    @Test func theDocumentHasOneRowForEachSettingAndNoOther() throws {
        let lines = try Self.document()
        let tables = lines.drop { $0 != "## Every setting" }
        let rows = tables.filter { $0.hasPrefix("| `") }
        #expect(rows == Setting.all.map(Self.row))
        #expect(tables.filter { $0.hasPrefix("### ") } == Setting.Section.allCases.map { "### \($0.rawValue)" })
    }

    @Test func theDocumentNamesTheGroupsOfFiles() throws {
        let text = try Self.document().joined(separator: " ")
        for group in Set(Setting.all.flatMap(\.names).map { FileKey.path(of: $0).prefix { $0 != "." } }) {
            #expect(text.contains("`\(group)`"), "\(group)")
        }
    }
}
