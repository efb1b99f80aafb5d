import Foundation
import HoldfastStore

/// What a setting's values look like: how they are read, written, and described to people.
struct SettingKind<Value: Sendable>: Sendable {
    /// Completes "accepted is …".
    let accepted: String
    let parse: @Sendable (String) -> Value?
    /// The value in its normal form, which `parse` reads back. Two texts mean the same when this agrees.
    let format: @Sendable (Value) -> String
    /// What may be shown of a text, be it valid or not.
    var redact: @Sendable (String) -> String = { $0 }
    var isSecret = false
    var isSwitch = false
}

extension SettingKind where Value == Bool {
    static let boolean = SettingKind(
        accepted: "true or false (also 1/0, yes/no, on/off)",
        parse: { text in
            switch text.lowercased() {
            case "true", "1", "yes", "on": true
            case "false", "0", "no", "off": false
            default: nil
            }
        },
        format: { $0 ? "true" : "false" },
        isSwitch: true
    )
}

extension SettingKind where Value == Int {
    static let databases = 0...Int(Int32.max)

    static func integer(_ range: ClosedRange<Int>) -> SettingKind {
        SettingKind(
            accepted: "a whole number from \(range.lowerBound) to \(range.upperBound)",
            parse: { text in
                guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(text) else { return nil }
                return range.contains(number) ? number : nil
            },
            format: { "\($0)" }
        )
    }

    static let count = integer(1...1_000_000_000)

    static let size = SettingKind(
        accepted: "a size such as 256mb, 1gb or a number of bytes (0 for no limit)",
        parse: SizeText.parse,
        format: SizeText.format
    )
}

extension SettingKind where Value == Duration {
    /// Longer than nothing.
    static let duration = SettingKind(
        accepted: "a duration such as 500ms, 5s, 2m, 1h, 7d or a number of seconds; more than 0, at most 366d",
        parse: { text in DurationText.parse(text).flatMap { $0 > .zero ? $0 : nil } },
        format: DurationText.format
    )
}

extension SettingKind where Value == String {
    static let text = SettingKind(accepted: "a text", parse: { $0 }, format: { $0 })

    static let prefix = SettingKind(
        accepted: "a text of at most 256 bytes without spaces, braces or control characters",
        parse: { text in
            let isPlain = text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: "}") }
            return isPlain && text.utf8.count <= 256 ? text : nil
        },
        format: { $0 }
    )

    static let host = SettingKind(
        accepted: "a host name or address, without scheme or port",
        parse: { text in
            let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
            // Colons only as in IPv6, of which every address has at least two.
            let colons = bare.count { $0 == ":" }
            guard colons != 1, !bare.contains(where: { $0.isWhitespace || "/@?#[],".contains($0) }) else { return nil }
            return bare
        },
        format: { $0 }
    )

    static let restURL = SettingKind(
        accepted: "an https:// URL",
        parse: { text in
            guard let url = URL(string: text), let scheme = url.scheme?.lowercased(), ["https", "http"].contains(scheme),
                let host = url.host(), !host.isEmpty, url.user() == nil, url.query() == nil
            else { return nil }
            return text.hasSuffix("/") ? String(text.dropLast()) : text
        },
        format: { $0 },
        redact: RedisURL.redact
    )

    /// A file that must be there.
    static let file = SettingKind(
        accepted: "the path of a file that can be read",
        parse: { text in
            let path = expandingHome(text)
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue,
                FileManager.default.isReadableFile(atPath: path)
            else { return nil }
            return path
        },
        format: { $0 }
    )

    /// A folder that is made when it is needed.
    static let folder = SettingKind(
        accepted: "the path of a folder",
        parse: { text in
            let path = expandingHome(text)
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            return exists && !isFolder.boolValue ? nil : path
        },
        format: { $0 }
    )

    /// No shell expands the `~` of a `.env` line.
    private static func expandingHome(_ path: String) -> String {
        path == "~" || path.hasPrefix("~/") ? FileManager.default.homeDirectoryForCurrentUser.path + path.dropFirst() : path
    }
}

extension SettingKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    static var choice: SettingKind {
        SettingKind(
            accepted: "one of " + Value.allCases.map(\.rawValue).joined(separator: ", "),
            parse: { Value(rawValue: $0.lowercased()) },
            format: \.rawValue
        )
    }
}
