import Foundation

/// Certificates for tests, made with the `openssl` command line tool: an authority, a server for 127.0.0.1 and localhost, one for
/// redis.example only, a client, and an authority that signed none of them.
public struct Certificates: Sendable {
    public let folder: String
    public var authority: String { folder + "/ca.crt" }
    public var strangeAuthority: String { folder + "/strange.crt" }
    public var serverCertificate: String { folder + "/server.crt" }
    public var serverKey: String { folder + "/server.key" }
    /// For redis.example, and no address.
    public var namedCertificate: String { folder + "/named.crt" }
    public var namedKey: String { folder + "/named.key" }
    /// For 127.0.0.1 and localhost, until yesterday.
    public var expiredCertificate: String { folder + "/expired.crt" }
    public var expiredKey: String { folder + "/expired.key" }
    public var clientCertificate: String { folder + "/client.crt" }
    public var clientKey: String { folder + "/client.key" }

    /// Takes about 0.1 s; a test process needs it once.
    static func make(in folder: String) throws -> Certificates {
        let script = """
            set -e
            cd '\(folder)'
            key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
            for name in ca strange; do
              key $name
              openssl req -x509 -new -key $name.key -days 2 -subj "/CN=holdfast test $name" -out $name.crt
            done
            for name in server client named expired; do
              names=IP:127.0.0.1,DNS:localhost
              days=2
              if [ $name = named ]; then names=DNS:redis.example; fi
              if [ $name = expired ]; then days=-1; fi
              key $name
              openssl req -new -key $name.key -subj "/CN=localhost" -out $name.csr
              echo "subjectAltName=$names" > $name.ext
              openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days $days -extfile $name.ext -out $name.crt
            done
            """
        let process = try ChildProcess(
            ["/bin/sh", "-c", script], standardOutput: folder + "/openssl.out", standardError: folder + "/openssl.err")
        guard process.wait() == 0 else {
            let log = (try? String(contentsOfFile: folder + "/openssl.err", encoding: .utf8)) ?? ""
            throw TestServerError("openssl could not make certificates: \(log.suffix(500))")
        }
        return Certificates(folder: folder)
    }
}

/// Why a test server could not be used. Never a reason to skip a test.
public struct TestServerError: Error, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}
