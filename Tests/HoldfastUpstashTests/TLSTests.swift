import HoldfastStore
import HoldfastUpstash
import NIOSSL
import TestServers
import Testing

/// REST over HTTPS: whom the client trusts, and what it says where it does not.
@Suite(.timeLimit(.minutes(2))) struct TLSTests {
    /// An endpoint that shows a certificate, and answers "bar" to whoever takes it.
    private func peer(_ certificate: String, _ key: String, clients authority: String? = nil) async throws -> TranscriptPeer {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
        // As Upstash's own endpoint offers it.
        configuration.applicationProtocols = ["h2", "http/1.1"]
        if let authority {
            configuration.trustRoots = .file(authority)
            // From a client: a certificate, of whatever name.
            configuration.certificateVerification = .noHostnameVerification
        }
        let context = try NIOSSLContext(configuration: configuration)
        return try await TranscriptPeer.start([TranscriptPeer.json(#"{"result":"YmFy"}"#)], tls: context)
    }

    /// What a call ends with; nil where it is answered.
    private func failure(
        _ url: String, _ tls: UpstashConfiguration.TLS?, patience: Duration = .seconds(60)
    ) async throws -> StoreError? {
        var configuration = UpstashConfiguration(url: url, token: "secret")
        (configuration.commandTimeout, configuration.connectTimeout) = (.seconds(60), patience)
        configuration.tls = tls
        let store = try UpstashStore(configuration)
        var failure: StoreError?
        do throws(StoreError) {
            let found = try await store(.get(Key(raw: "foo")))
            #expect(found == "bar")
        } catch { failure = error }
        await store.shutdown()
        return failure
    }

    @Test func whoHasTheRightAuthorityIsAnsweredOverHTTP1() async throws {
        let files = try RedisProcess.sharedCertificates()
        let peer = try await peer(files.serverCertificate, files.serverKey)
        let trusting = UpstashConfiguration.TLS(authorityFile: files.authority)
        for url in [peer.url, "https://localhost:\(peer.port)"] { #expect(try await failure(url, trusting) == nil, "\(url)") }
        // HTTP/2 was offered: what came is HTTP/1.1 all the same.
        #expect(peer.requests.map(\.line) == ["POST / HTTP/1.1", "POST / HTTP/1.1"])
        try await peer.stop()
    }

    @Test func whatIsNotTrustedIsRefusedWithAdvice() async throws {
        let files = try RedisProcess.sharedCertificates()
        let good = try await peer(files.serverCertificate, files.serverKey)
        let expired = try await peer(files.expiredCertificate, files.expiredKey)
        let named = try await peer(files.namedCertificate, files.namedKey)
        let trusting = UpstashConfiguration.TLS(authorityFile: files.authority)
        let cases: [(peer: TranscriptPeer, tls: UpstashConfiguration.TLS?, words: [String])] = [
            (good, nil, ["not accepted", "tls.authorityFile"]),
            (good, .init(authorityFile: files.strangeAuthority), ["not accepted", "tls.authorityFile"]),
            (expired, trusting, ["not accepted", "not expired"]), (named, trusting, ["another name", "the URL's host"]),
        ]
        for (peer, tls, words) in cases {
            let error = try await failure(peer.url, tls)
            #expect(error?.code == .serverRefused && error?.effect == StoreError.Effect.none, "\(error as Any)")
            #expect(error?.isServerFailure == false)
            for word in words { #expect(error?.message.contains(word) == true, "\(error as Any)") }
            #expect(peer.requests.isEmpty, "the token was sent")
        }
        // Less is looked at where that is asked for.
        var lax = trusting
        lax.verification = .noHostname
        #expect(try await failure(named.url, lax) == nil)
        #expect(try await failure(expired.url, lax)?.code == .serverRefused)
        for peer in [good, expired, named] {
            #expect(try await failure(peer.url, .init(verification: .none)) == nil)
            try await peer.stop()
        }
    }

    @Test func theClientShowsItsCertificate() async throws {
        let files = try RedisProcess.sharedCertificates()
        let peer = try await peer(files.serverCertificate, files.serverKey, clients: files.authority)
        var tls = UpstashConfiguration.TLS(authorityFile: files.authority)
        #expect(try await failure(peer.url, tls) != nil)
        (tls.certificateFile, tls.keyFile) = (files.clientCertificate, files.clientKey)
        #expect(try await failure(peer.url, tls) == nil)
        try await peer.stop()
    }

    /// It waits for the rest of a request, and its caller for the rest of the handshake.
    @Test func aPortWithoutTLSIsNoConnection() async throws {
        let peer = try await TranscriptPeer.start([.close])
        let error = try await failure("https://127.0.0.1:\(peer.port)", nil, patience: .milliseconds(500))
        #expect(error?.code == .connectionFailed && error?.effect == StoreError.Effect.none, "\(error as Any)")
        try await peer.stop()
    }

    @Test func filesThatCannotServeAreNamed() throws {
        let files = try RedisProcess.sharedCertificates()
        let cases: [(field: String, tls: UpstashConfiguration.TLS)] = [
            ("tls.authorityFile", .init(authorityFile: files.serverKey)), ("tls.authorityFile", .init(authorityFile: "/none")),
            ("tls.certificateFile", .init(certificateFile: files.clientKey, keyFile: files.clientKey)),
            ("tls.keyFile", .init(certificateFile: files.clientCertificate, keyFile: files.clientCertificate)),
            ("tls.keyFile", .init(certificateFile: files.clientCertificate, keyFile: files.serverKey)),
        ]
        for (field, tls) in cases {
            var configuration = UpstashConfiguration(url: "https://h", token: "t")
            configuration.tls = tls
            let error = #expect(throws: StoreError.self) { try UpstashStore(configuration) }
            #expect(error?.field == field && error?.code == .invalidArgument, "\(error as Any)")
        }
        var plain = UpstashConfiguration(url: "http://h", token: "t")
        plain.tls = .init()
        let error = #expect(throws: StoreError.self) { try UpstashStore(plain) }
        #expect(error?.field == "tls")
    }
}
