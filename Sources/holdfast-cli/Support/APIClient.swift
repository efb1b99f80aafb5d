import ArgumentParser
import AsyncHTTPClient
import Foundation
import Holdfast
import HoldfastServer
import HoldfastStore
import NIOCore
import NIOHTTP1
import NIOSSL

/// How to reach a running server.
struct ClientOptions: ParsableArguments {
    @Option(help: "The server's address (default: HOLDFAST_URL, else HOLDFAST_HOST and HOLDFAST_PORT).")
    var url: String?

    @Option(help: "The API key (default: HOLDFAST_API_KEY, else the key file that the server keeps).")
    var apiKey: String?

    @Option(help: "Authorities to trust instead of the system's, PEM (default: HOLDFAST_CA_FILE).")
    var caFile: String?

    @Option(help: "How many seconds to wait for an answer.")
    var timeout: Int = 10

    /// Calls the server that is meant, or, where a data folder is named that no server has, the folder itself.
    func withClient<Output>(_ body: (APIClient) async throws -> Output) async throws -> Output {
        let loaded = try await Invocation.load()
        guard url == nil, loaded.clientURL == nil, let folder = loaded.configuration.journalFolder else {
            return try await body(try APIClient(self, loaded))
        }
        if let running = try FolderService.running(in: folder, loaded.configuration) {
            return try await body(try APIClient(self, loaded, address: running))
        }
        return try await FolderService.withService(loaded.configuration) { url, key in
            try await body(try APIClient(self, loaded, address: url, key: key))
        }
    }
}

/// Calls a running server's HTTP API.
struct APIClient: Sendable {
    /// A refused connection is told at once: the library would try again until the deadline.
    private static let http: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    struct Answer: Sendable {
        let status: Int
        let json: JSONValue
        /// The body where it is no JSON.
        let text: String
    }

    let url: String
    private let key: String?
    private let timeout: TimeAmount
    /// Nil for the system's authorities.
    private let authorities: [NIOSSLCertificate]?

    /// - Parameters:
    ///   - address: where the server is, if that is known better than the options and the configuration say.
    ///   - key: what it is called with, likewise.
    init(_ options: ClientOptions, _ loaded: LoadedConfiguration, address known: String? = nil, key knownKey: String? = nil)
        throws
    {
        var address = known ?? options.url ?? loaded.clientURL ?? Self.localURL(loaded.configuration.server)
        if !address.contains("://") { address = "http://" + address }
        while address.hasSuffix("/") { address.removeLast() }
        guard let parsed = URL(string: address), ["http", "https"].contains(parsed.scheme), parsed.host() != nil else {
            throw CommandFailure(.usage, "--url \(address) is no address: accepted is http://host:port or https://…")
        }
        url = address
        timeout = .seconds(Int64(max(1, options.timeout)))
        authorities = try (options.caFile ?? loaded.clientAuthorityFile).map(Self.authorities)
        key = try knownKey ?? options.apiKey ?? loaded.clientKey?.value ?? Self.localKey(loaded.configuration.server)
    }

    /// The address of a server that runs with this configuration on this machine.
    static func localURL(_ server: HoldfastConfiguration.Server) -> String {
        let host = ServedAddress.reachable(server.host)
        return "\(server.usesTLS ? "https" : "http")://\(HostAndPort(host: host, port: server.port))"
    }

    private static func authorities(in file: String) throws -> [NIOSSLCertificate] {
        do { return try NIOSSLCertificate.fromPEMFile(file) } catch {
            throw CommandFailure(.configuration, "HOLDFAST_CA_FILE: \(file) holds no certificate in PEM form")
        }
    }

    /// A key that the configuration gives in the clear, or the one that the server made for itself.
    private static func localKey(_ server: HoldfastConfiguration.Server) throws -> String? {
        let secrets = server.apiKeys.compactMap { $0.value.split(separator: ":").last.map(String.init) }
        if let secret = secrets.first(where: { !$0.hasPrefix("sha256=") }) { return secret }
        let file = APIKeyFile(folder: server.keyFolder(environment: ProcessInfo.processInfo.environment))
        do { return try file.read() } catch { throw CommandFailure(.noPermission, "\(file.path): \(error.message)") }
    }

    // MARK: - Calling

    /// - Parameter path: of the API, from its slash on, escaped.
    /// - Throws: ``CommandFailure`` unless the answer is 2xx or 404.
    func call(_ method: HTTPMethod, _ path: String, body: JSONValue? = nil) async throws -> Answer {
        let answer = try await exchange(method, path, body: body)
        switch answer.status {
        case 200..<300, 404: return answer
        default: throw failure(answer)
        }
    }

    /// The answer whatever its status is.
    func exchange(_ method: HTTPMethod, _ path: String, body: JSONValue? = nil) async throws -> Answer {
        var request = HTTPClientRequest(url: url + path)
        request.method = method
        request.headers.add(name: "accept", value: "application/json")
        if let key { request.headers.add(name: "authorization", value: "Bearer \(key)") }
        if let authorities {
            request.tlsConfiguration = .makeClientConfiguration()
            request.tlsConfiguration?.trustRoots = .certificates(authorities)
        }
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body.encoded() ?? Bytes()))
        }
        do {
            let response = try await Self.http.execute(request, timeout: timeout)
            let bytes = try await response.body.collect(upTo: 64 << 20)
            let text = String(buffer: bytes)
            return Answer(
                status: Int(response.status.code), json: JSONValue(json: bytes.readableBytesView) ?? .null, text: text)
        } catch {
            throw CommandFailure(.unavailable, "no server answers at \(url) (\(Self.reason(error))); `holdfast serve` starts one")
        }
    }

    /// The server's own words, and a code that programs can act on.
    func failure(_ answer: Answer) -> CommandFailure {
        let detail = answer.json["detail"]?.string ?? answer.json["title"]?.string ?? "HTTP status \(answer.status)"
        let field = answer.json["field"]?.string.map { " (\($0))" } ?? ""
        return switch answer.status {
        case 401 where key == nil:
            CommandFailure(.noPermission, "\(url) needs an API key: give --api-key or HOLDFAST_API_KEY")
        case 401, 403: CommandFailure(.noPermission, "\(url) refused the API key: \(detail)")
        case 404: CommandFailure(.negative, detail)
        case 429, 503: CommandFailure(.temporary, "\(detail)\(field)")
        case 400..<500: CommandFailure(.data, "\(detail)\(field)")
        default: CommandFailure(.software, "the server failed: \(detail)")
        }
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? HTTPClientError { return error.shortDescription }
        if "\(error)".contains("Connection refused") { return "connection refused" }
        if "\(error)".contains("CERTIFICATE_VERIFY_FAILED") {
            return "its certificate is not trusted: --ca-file or HOLDFAST_CA_FILE names who signed it"
        }
        return String("\(error)".split(whereSeparator: \.isNewline).joined(separator: " ").prefix(120))
    }

    /// One segment of a path.
    static func escape(_ segment: String) -> String {
        let plain = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
        // A segment of dots alone would be folded away by the URL's reader.
        let escaped = segment.addingPercentEncoding(withAllowedCharacters: plain) ?? segment
        return escaped.allSatisfy { $0 == "." } ? escaped.replacing(".", with: "%2E") : escaped
    }

    static func entryPath(workspace: String, key: String) -> String {
        "/api/v1/cache/entries/\(escape(workspace))/\(escape(key))"
    }
}

/// The option of the commands on cache entries.
struct EntryOptions: ParsableArguments {
    @Option(name: [.short, .long], help: "The workspace of the entry.")
    var workspace: String = "default"

    @Flag(help: "Print JSON for programs.")
    var json = false

    func validate() throws {
        guard !workspace.isEmpty else { throw ValidationError("--workspace must not be empty") }
    }

    /// A key that the API's paths can hold.
    static func check(_ key: String) throws {
        guard (1...1024).contains(key.utf8.count) else { throw ValidationError("A key has 1 to 1024 bytes") }
    }
}
