import HoldfastStore
import Testing

@testable import HoldfastServer

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

@Suite struct APIKeyTests {
    @Test func entriesNameRoleTenantAndSecret() throws {
        let ring = try APIKeyRing(parsing: ["ci:operator@acme:s:1", "reader:r2", "plain"])
        let ci = try #require(ring.key(for: "s:1"))
        #expect(ci.name == "ci" && ci.role == .operator && ci.tenant == "acme")
        #expect(ring.key(for: "r2")?.role == .reader)
        let plain = try #require(ring.key(for: "plain"))
        #expect(plain.role == .admin && plain.tenant == nil)
        #expect(ring.key(for: "s") == nil && ring.key(for: "") == nil && ring.key(for: "plain ") == nil)
    }

    @Test func aHashMayStandForTheSecret() throws {
        let digits = APIKey.digest(of: "hidden").map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        let ring = try APIKeyRing(parsing: ["a:reader:sha256=\(digits)"])
        #expect(ring.key(for: "hidden")?.name == "a")
        #expect(ring.key(for: digits) == nil)
    }

    @Test(arguments: [
        ["root:emperor:x"], ["a:admin:"], [""], ["a b:admin:x"], ["a:admin@:x"], ["a:admin@a b:x"], ["a:admin:x", "a:reader:y"],
        ["a:admin:x", "b:reader:x"], ["a:admin:sha256=12"], ["a:admin:pass word"],
    ])
    func badEntriesAreRefusedWithoutShowingThem(entries: [String]) {
        let error = #expect(throws: StoreError.self) { try APIKeyRing(parsing: entries) }
        #expect(error?.code == .invalidArgument && error?.field == "HOLDFAST_API_KEYS")
        #expect(error?.message.contains(entries[0].isEmpty ? "\u{0}" : entries[0]) == false)
    }

    @Test func theKeyOfTheFirstStartIsKeptForItsUserAlone() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = APIKeyFile(folder: folder.path)
        #expect(try file.read() == nil)
        let (secret, isNew) = try file.readOrCreate()
        #expect(isNew && secret.utf8.count == 46)
        let again = try file.readOrCreate()
        #expect(!again.isNew && again.secret == secret)
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file.path)
        #expect(throws: StoreError.self) { try file.read() }
    }

    @Test func base64URLIsItsOwnInverseAndStrict() {
        for count in 0..<20 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 200) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
        #expect(Base64URL.decode("A") == nil && Base64URL.decode("AB") == nil && Base64URL.decode("A=") == nil)
        #expect(Base64URL.decode("AA") == [0])
    }
}
