public import HoldfastStore
import NIOSSL

/// The certificate that this server shows.
public struct ServerTLS: Sendable {
    let context: NIOSSLContext

    /// Reads a certificate and its key, both PEM.
    ///
    /// - Parameters:
    ///   - certificateFile: the certificate, followed by those between it and its authority.
    ///   - keyFile: nil where the key stands in the same file.
    /// - Throws: ``HoldfastStore/StoreError`` naming the setting, `HOLDFAST_TLS_CERTIFICATE` or `HOLDFAST_TLS_KEY`.
    public init(certificateFile: String, keyFile: String?) throws(StoreError) {
        let certificates: [NIOSSLCertificate]
        do { certificates = try NIOSSLCertificate.fromPEMFile(certificateFile) } catch {
            throw .invalid("HOLDFAST_TLS_CERTIFICATE", "\(certificateFile) holds no certificate in PEM form")
        }
        guard !certificates.isEmpty else {
            throw .invalid("HOLDFAST_TLS_CERTIFICATE", "\(certificateFile) holds no certificate in PEM form")
        }
        let key: NIOSSLPrivateKey
        // A passphrase is not asked for: nobody sits at a server's start.
        do { key = try NIOSSLPrivateKey(file: keyFile ?? certificateFile, format: .pem) { $0([UInt8]()) } } catch {
            throw .invalid("HOLDFAST_TLS_KEY", "\(keyFile ?? certificateFile) holds no key in PEM form that is not encrypted")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        do { context = try NIOSSLContext(configuration: configuration) } catch {
            throw .invalid("HOLDFAST_TLS_KEY", "The key does not fit the certificate \(certificateFile)")
        }
    }
}
