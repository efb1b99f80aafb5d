import HoldfastStore
import HoldfastUpstash
import Testing

/// The Swift of the page on Upstash, compiled. `DocumentedSwiftTests` compares it with the page.
@Suite struct ConnectingPageTests {
    /// Not run: a database of Upstash's own would be called.
    private func aDatabaseIsUsed() async throws -> Bytes? {
        // begin docs/connecting/upstash.md
        let url = "https://eu1-merry-cat-32748.upstash.io"  // UPSTASH_REDIS_REST_URL
        let token = "AX…"  // UPSTASH_REDIS_REST_TOKEN, from a secret manager
        let key = Namespace(prefix: "app:").key("profile:42")

        let store = try UpstashStore(UpstashConfiguration(url: url, token: token))
        try await store(.set(key, "Ann", expiration: .after(.seconds(300))))
        let name = try await store(.get(key))  // Bytes?, "Ann"
        await store.shutdown()
        // end docs/connecting/upstash.md
        return name
    }

    @Test func authoritiesOfOnesOwnAreNamed() {
        let (url, token) = ("https://localhost", "secret")
        // begin docs/connecting/upstash.md
        var configuration = UpstashConfiguration(url: url, token: token)
        configuration.tls = .init(authorityFile: "/etc/ssl/private-ca.pem")
        // end docs/connecting/upstash.md
        #expect(configuration.tls?.authorityFile == "/etc/ssl/private-ca.pem")
    }
}
