import HoldfastStore
import NIOSSL

extension UpstashConfiguration.TLS {
    /// What the HTTP client takes.
    ///
    /// - Throws: ``ErrorCode/invalidArgument`` naming the setting, where a file cannot be used.
    func makeConfiguration() throws(StoreError) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        switch verification {
        case .none: configuration.certificateVerification = .none
        case .noHostname: configuration.certificateVerification = .noHostnameVerification
        case .full: configuration.certificateVerification = .fullVerification
        }
        if let authorityFile {
            _ = try Self.certificates("tls.authorityFile", authorityFile)
            configuration.trustRoots = .file(authorityFile)
        }
        if let certificateFile {
            configuration.certificateChain = try Self.certificates("tls.certificateFile", certificateFile)
                .map { .certificate($0) }
        }
        if let keyFile {
            guard let key = Self.key(keyFile) else {
                throw .invalid("tls.keyFile", "\(keyFile) holds no private key in PEM form that is not encrypted")
            }
            configuration.privateKey = .privateKey(key)
        }
        // The client makes its contexts when it connects, and then there is nobody to be told of a file.
        do { _ = try NIOSSLContext(configuration: configuration) } catch {
            // Each by itself could be read.
            if let keyFile, case .failedToLoadPrivateKey? = error as? NIOSSLError {
                throw .invalid("tls.keyFile", "\(keyFile) is not the key of \(certificateFile ?? "the certificate")")
            }
            throw .invalid("tls.authorityFile", "\(authorityFile ?? "the system's authorities") cannot be used for TLS: \(error)")
        }
        return configuration
    }

    private static func certificates(_ field: String, _ path: String) throws(StoreError) -> [NIOSSLCertificate] {
        let found = (try? NIOSSLCertificate.fromPEMFile(path)) ?? []
        guard found.isEmpty else { return found }
        let instead = key(path) == nil ? " that can be read" : ", but a private key"
        throw .invalid(field, "\(path) holds no certificate in PEM form\(instead)")
    }

    /// Nil where the file holds none.
    private static func key(_ path: String) -> NIOSSLPrivateKey? {
        // A passphrase is not asked for: nobody sits at the start of a process.
        try? NIOSSLPrivateKey(file: path, format: .pem) { $0([UInt8]()) }
    }
}
