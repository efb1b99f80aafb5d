import Foundation
import Holdfast
import HoldfastStore
import NIOSSL
import TestServers
import Testing

@testable import HoldfastServer

@Suite struct TLSTests {
    @Test func theServerSpeaksHTTPSToWhoeverTrustsItsCertificate() async throws {
        let files = try RedisProcess.sharedCertificates()
        var configuration = HTTPServer.Configuration()
        configuration.tls = try ServerTLS(certificateFile: files.serverCertificate, keyFile: files.serverKey)
        try await LiveServer.serving(configuration: configuration) { port in
            let sent = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            for (authority, isTrusted) in [(files.authority, true), (files.strangeAuthority, false)] {
                var client = TLSConfiguration.makeClientConfiguration()
                client.trustRoots = .file(authority)
                let connection = try await RawConnection.open(port: port, tls: NIOSSLContext(configuration: client))
                await connection.send(sent)
                try await connection.wait()
                #expect(RawAnswer.all(in: connection.received).map(\.status) == (isTrusted ? [200] : []))
            }
            // Neither does it answer, nor hang, who speaks without TLS.
            let plain = try await RawConnection.open(port: port)
            await plain.send(sent)
            try await plain.wait()
            #expect(RawAnswer.all(in: plain.received).isEmpty)
        }
    }

    @Test func whatCannotBeUsedIsNamed() throws {
        let files = try RedisProcess.sharedCertificates()
        for (certificate, key, field) in [
            (files.serverKey, files.serverKey, "HOLDFAST_TLS_CERTIFICATE"),
            ("/none", files.serverKey, "HOLDFAST_TLS_CERTIFICATE"),
            (files.serverCertificate, nil, "HOLDFAST_TLS_KEY"), (files.serverCertificate, files.authority, "HOLDFAST_TLS_KEY"),
            (files.serverCertificate, files.clientKey, "HOLDFAST_TLS_KEY"),
        ] {
            let error = #expect(throws: StoreError.self) { try ServerTLS(certificateFile: certificate, keyFile: key) }
            #expect(error?.field == field && error?.code == .invalidArgument)
        }
    }

    @Test func theCommandLineReachesAServerWithACertificate() async throws {
        let files = try RedisProcess.sharedCertificates()
        let holdfast = try CommandLineProgram()
        let mismatch = try await holdfast(
            "serve", "--port", "0", "--tls-certificate", files.serverCertificate, "--tls-key", files.clientKey)
        #expect(mismatch.status == 78 && mismatch.complaints.contains("HOLDFAST_TLS_KEY"))
        let server = try holdfast.start(
            "serve", "--port", "0", "--tls-certificate", files.serverCertificate, "--tls-key", files.serverKey)
        defer { if server.process.isRunning { kill(server.process.processIdentifier, SIGKILL) } }
        try await server.waitUntilItSays("API key")
        let start = try #require(server.output.firstRange(of: "https://")).lowerBound
        let url = String(server.output[start...].prefix { !$0.isNewline })
        #expect(try await holdfast("set", "k", "v", "--url", url, "--ca-file", files.authority).status == 0)
        #expect(try await holdfast("get", "k", "--url", url, environment: ["HOLDFAST_CA_FILE": files.authority]).output == "v\n")
        let untrusting = try await holdfast("get", "k", "--url", url)
        #expect(untrusting.status == 69 && untrusting.complaints.contains("--ca-file"))
        #expect(await server.terminate() == 0)
    }
}
