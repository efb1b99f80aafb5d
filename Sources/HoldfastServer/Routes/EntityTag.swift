import HTTPTypes
import Holdfast
import HoldfastStore

/// `If-Match` and `If-None-Match` (RFC 9110 §13).
struct EntityTag: Sendable, Hashable {
    /// With its quotes: `"7"`.
    let text: String

    init(version: some BinaryInteger) { text = "\"\(version)\"" }
    init(_ opaque: String) { text = "\"\(opaque)\"" }

    /// The version in a strong tag of ours.
    static func version(in tag: some StringProtocol) -> Int64? { opaque(in: tag).flatMap { Int64($0) } }

    /// What stands between the quotes of a strong tag.
    static func opaque(in tag: some StringProtocol) -> String? {
        guard tag.count > 2, tag.first == "\"", tag.last == "\"" else { return nil }
        return String(tag.dropFirst().dropLast())
    }

    /// Whether a list of tags (or `*`) names this one. Weak ones count only where `weakly` (`If-None-Match`).
    func isNamed(in list: String, weakly: Bool) -> Bool {
        list.split(separator: ",").contains { entry in
            var entry = entry[...].drop { $0 == " " || $0 == "\t" }
            while entry.last == " " || entry.last == "\t" { entry.removeLast() }
            if entry == "*" { return true }
            if weakly, entry.hasPrefix("W/") { entry = entry.dropFirst(2) }
            return entry == text
        }
    }
}

extension Call {
    /// The version that `If-Match` asks for; nil for none or `*`.
    ///
    /// - Throws: ``ErrorCode/preconditionFailed`` for a tag that no version of ours can have.
    func expectedVersion() throws(StoreError) -> Int64? {
        guard let tag = optionalString("If-Match"), tag != "*" else { return nil }
        guard let version = EntityTag.version(in: tag) else {
            throw StoreError(.preconditionFailed, "If-Match names no version of this resource", field: "If-Match")
        }
        return version
    }

    /// 304 where the caller's copy is current, else the answer with its tag.
    func answer(_ json: JSONValue, tag: EntityTag, by decider: Decider, _ status: HTTPResponse.Status = .ok) -> Answer {
        let headers: HTTPFields = [.eTag: tag.text]
        if let list = optionalString("If-None-Match"), tag.isNamed(in: list, weakly: true) {
            return Answer(.notModified, headers: [.eTag: tag.text, .decidedBy: decider.word])
        }
        return .json(json, status, headers: headers)
    }
}
