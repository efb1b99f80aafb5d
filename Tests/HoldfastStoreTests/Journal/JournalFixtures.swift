import HoldfastTesting
import Testing

@testable import HoldfastStore

extension EmbeddedStore {
    /// What the store holds, in a form that can be compared.
    var contents: Contents { keyspace.withLock { Contents($0) } }
}

extension SimulatedFolder {
    static let manifest = "appendonly.aof.manifest"
    static let firstIncrement = "appendonly.aof.1.incr.aof"

    /// A folder whose one increment holds these commands.
    static func holding(_ text: String) -> SimulatedFolder {
        let folder = SimulatedFolder()
        folder.put(Array("file appendonly.aof.1.incr.aof seq 1 type i\n".utf8), as: manifest)
        folder.put(Array(text.utf8), as: firstIncrement)
        return folder
    }

    func text(of name: String) -> String { String(decoding: bytes(of: name) ?? [], as: UTF8.self) }
}

/// Commands in RESP, written as words.
func resp(_ lines: String...) -> String {
    lines.map { line in
        let words = line.split(separator: " ")
        return "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
    }.joined()
}

/// Waits until something holds; a minute is long enough for any machine.
func eventually(_ what: String, _ holds: () async -> Bool) async throws {
    for _ in 0..<60_000 {
        if await holds() { return }
        try await Task.sleep(for: .milliseconds(1))
    }
    Issue.record("\(what) did not come to be")
}
