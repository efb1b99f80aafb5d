import Crypto
public import HoldfastStore

/// Who may call, and as what. Holds the secret's SHA-256, never the secret.
public struct APIKey: Sendable, Hashable {
    /// For logs and audit.
    public let name: String
    public let role: CallContext.Role
    /// The tenant that the key is bound to; nil for the default one (and, with an admin key, any other by `X-Tenant`).
    public let tenant: String?
    let digest: [UInt8]

    /// - Parameter secret: what callers send. Secrets are random, so a plain hash keeps them: there is nothing to guess.
    public init(name: String, role: CallContext.Role, tenant: String? = nil, secret: String) {
        self.init(name: name, role: role, tenant: tenant, digest: Self.digest(of: secret))
    }

    init(name: String, role: CallContext.Role, tenant: String?, digest: [UInt8]) {
        self.name = name
        self.role = role
        self.tenant = tenant
        self.digest = digest
    }

    static func digest(of secret: String) -> [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }
}
