public import HoldfastStore

/// The API keys that this server accepts.
public struct APIKeyRing: Sendable {
    public let keys: [APIKey]

    public init(_ keys: [APIKey]) { self.keys = keys }

    /// Reads the entries of `HOLDFAST_API_KEYS`.
    ///
    /// An entry is `name:role:secret` or `name:role@tenant:secret`, with a role of `reader`, `operator` or `admin`; without a name it is
    /// called after its role and number; and a secret alone is an admin's. In place of a secret its hash may stand, as `sha256=` and 64 hexadecimal digits.
    ///
    /// - Throws: ``ErrorCode/invalidArgument`` naming the entry by its number; never its content.
    public init(parsing entries: [String]) throws(StoreError) {
        var keys: [APIKey] = []
        for (index, entry) in entries.enumerated() {
            let key = try Self.parse(entry, number: index + 1)
            guard !keys.contains(where: { $0.name == key.name }) else {
                throw Self.mistake(index + 1, "has the name of an earlier one (\(key.name))")
            }
            guard !keys.contains(where: { $0.digest == key.digest }) else {
                throw Self.mistake(index + 1, "has the secret of an earlier one")
            }
            keys.append(key)
        }
        self.init(keys)
    }

    /// The key with this secret, or nil.
    ///
    /// Takes the same time whichever key it is and however much of it is right: the hashes are compared in full, with all keys.
    public func key(for secret: String) -> APIKey? {
        let digest = APIKey.digest(of: secret)
        var found: APIKey?
        for key in keys where Self.isEqual(key.digest, digest) { found = key }
        return found
    }

    private static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        var difference = UInt8(left.count == right.count ? 0 : 1)
        for (a, b) in zip(left, right) { difference |= a ^ b }
        return difference == 0
    }

    // MARK: - Reading an entry

    private static func parse(_ entry: String, number: Int) throws(StoreError) -> APIKey {
        let parts = entry.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        let (name, scope) =
            switch parts.count {
            case 1: (String?.none, "admin")
            case 2: (nil, parts[0])
            default: (parts[0], parts[1])
            }
        let (role, tenant) = try parse(scope: scope, number: number)
        if let name, !TextFormat.word.accepts(name) {
            throw mistake(number, "has a name that is no word of letters, digits, '.', '_', '-' or '~'")
        }
        let digest = try digest(parts[parts.count - 1], number: number)
        return APIKey(name: name ?? "\(role.rawValue)-\(number)", role: role, tenant: tenant, digest: digest)
    }

    private static func parse(scope: String, number: Int) throws(StoreError) -> (CallContext.Role, tenant: String?) {
        let parts = scope.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let role = CallContext.Role(rawValue: parts[0]) else {
            throw mistake(
                number, "must be name:role:secret, name:role@tenant:secret or a secret, of role reader, operator or admin")
        }
        guard parts.count == 2 else { return (role, nil) }
        guard TextFormat.word.accepts(parts[1]), parts[1].utf8.count <= TenantName.maximumLength else {
            throw mistake(number, "has a tenant that is no word of letters, digits, '.', '_', '-' or '~'")
        }
        return (role, parts[1])
    }

    private static func digest(_ secret: String, number: Int) throws(StoreError) -> [UInt8] {
        guard secret.hasPrefix("sha256=") else {
            // What a header cannot carry could never be presented.
            guard !secret.isEmpty, secret.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw mistake(number, "has a secret that is empty or not of visible ASCII characters")
            }
            return APIKey.digest(of: secret)
        }
        let digits = secret.dropFirst(7).compactMap(\.hexDigitValue)
        guard digits.count == 64, secret.utf8.count == 71 else { throw mistake(number, "has a sha256= of other than 64 digits") }
        return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    private static func mistake(_ number: Int, _ message: String) -> StoreError {
        .invalid("HOLDFAST_API_KEYS", "API key \(number) \(message)")
    }
}
