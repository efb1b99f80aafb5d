import HoldfastStore
import NIOCore
import NIOPosix
import NIOSSL

/// Makes connections: socket, TLS, handshake, together within the connect timeout. Finding the address, where it has to be found, has
/// its own time.
struct Connector: Sendable {
    enum Target: Sendable {
        case fixed(ServerAddress)
        /// Asked for each new connection.
        case found(@Sendable () async throws(StoreError) -> ServerAddress)
    }

    let configuration: RedisConfiguration
    private var target: Target
    private var role: Handshake.Role
    private let tls: NIOSSLContext?
    /// Whether bytes go to the socket as they are.
    var isPlain: Bool { tls == nil }
    private let timeout: TimeAmount

    /// - Throws: ``ErrorCode/invalidArgument`` naming the setting, where a certificate file cannot be read.
    init(_ configuration: RedisConfiguration, to target: Target, role: Handshake.Role = .any) throws(StoreError) {
        self.configuration = configuration
        self.target = target
        self.role = role
        timeout = .nanoseconds(configuration.connectTimeout.clampedNanoseconds)
        if let tls = configuration.tls {
            self.tls = try tls.makeContext()
        } else {
            tls = nil
        }
    }

    /// The same towards another server.
    func aimed(at address: ServerAddress, role: Handshake.Role) -> Connector {
        var connector = self
        (connector.target, connector.role) = (.fixed(address), role)
        return connector
    }

    /// Connects and introduces itself; from then on `receiver` gets what the server sends. Fails with a ``StoreError`` of effect none.
    ///
    /// - Parameter predecessor: a connection that is ended on the server first.
    func connect(
        on eventLoop: any EventLoop, receiver: any ConnectionReceiver, after predecessor: ServerSideIdentity? = nil
    ) -> EventLoopFuture<any NIOCore.Channel> {
        if case .fixed(let address) = target, configuration.credentials == nil {
            let handshake = Handshake(configuration, role: role, after: predecessor)
            return connect(to: address, handshake, on: eventLoop, receiver: receiver)
        }
        return eventLoop.makeFutureWithTask { (try await address(), try await configuration.identified()) }
            .flatMap { address, identified in
                let handshake = Handshake(identified, role: role, after: predecessor)
                return connect(to: address, handshake, on: eventLoop, receiver: receiver)
            }
    }

    private func address() async throws(StoreError) -> ServerAddress {
        switch target {
        case .fixed(let address): address
        case .found(let find): try await find()
        }
    }

    private func connect(
        to address: ServerAddress, _ handshake: Handshake, on eventLoop: any EventLoop, receiver: any ConnectionReceiver
    ) -> EventLoopFuture<any NIOCore.Channel> {
        let promise = eventLoop.makePromise(of: (any NIOCore.Channel).self)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            // Nothing is read before the handler is there to read it: the server may speak first ("max number of clients").
            .channelOption(.autoRead, value: false)
            .channelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
            .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { try addTLS(to: channel, at: address) } }
        let deadline = NIODeadline.now() + timeout
        let connected =
            switch address {
            case .tcp(let host, let port):
                KeepAlive.options.reduce(bootstrap) { $0.channelOption($1.0, value: $1.1) }.connect(host: host, port: port)
            case .unixSocket(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        connected.assumeIsolated().whenComplete { result in
            switch result {
            case .failure(let error): promise.fail(failure(error, at: address))
            case .success(let channel):
                introduce(channel, at: address, handshake, until: deadline, receiver: receiver, promise: promise)
            }
        }
        return promise.futureResult
    }

    private func introduce(
        _ channel: any NIOCore.Channel, at address: ServerAddress, _ handshake: Handshake, until end: NIODeadline,
        receiver: any ConnectionReceiver, promise: EventLoopPromise<any NIOCore.Channel>
    ) {
        let done = channel.eventLoop.makePromise(of: Void.self)
        let deadline = channel.eventLoop.scheduleTask(deadline: end) {
            done.fail(StoreError(.connectionFailed, "The server said nothing in time to \(address)"))
            channel.close(promise: nil)
        }
        done.futureResult.whenComplete { result in
            deadline.cancel()
            switch result {
            case .success: promise.succeed(channel)
            case .failure(let error):
                channel.close(promise: nil)
                promise.fail(failureAtIntroduction(error, at: address))
            }
        }
        do {
            let handler = RESPHandler(handshake: handshake, introduced: done, receiver: receiver)
            try channel.pipeline.syncOperations.addHandler(handler)
            try channel.syncOptions?.setOption(.autoRead, value: true)
        } catch {
            done.fail(error)
        }
    }

    private func addTLS(to channel: any NIOCore.Channel, at address: ServerAddress) throws {
        guard let tls, case .tcp(let host, _) = address else { return }
        let name = configuration.tls?.serverName ?? host
        // SNI takes names only; without one NIOSSL compares the certificate with the address that was connected to.
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        let handler = try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : name)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    private func failure(_ error: any Error, at address: ServerAddress) -> StoreError {
        // What is no RESP may have come after anything; here nothing but the handshake was sent.
        if let error = error as? StoreError {
            return StoreError(error.code, error.message, effect: .none, operation: error.operation, field: error.field)
        }
        let text = String(describing: error)
        let reason = tlsReason(error, text)
        guard let advice = advice(on: error, text) else {
            let fault = reason.map { "TLS could not be agreed on (\($0))" } ?? text
            return StoreError(.connectionFailed, "\(address): \(fault)")
        }
        return StoreError(.serverRefused, "No TLS with \(address): \(advice)\(reason.map { " (\($0))" } ?? "")")
    }

    /// The word that BoringSSL has for a fault of TLS, without its numbers and the places in its sources.
    private func tlsReason(_ error: any Error, _ text: String) -> String? {
        guard error is NIOSSLError || error is BoringSSLError else { return nil }
        if text.contains("EOF during handshake") { return "the server ended the connection" }
        guard let start = text.firstRange(of: "OPENSSL_internal:")?.upperBound else { return text }
        return String(text[start...].prefix { $0 != " " })
    }

    /// A server that does not like the client's certificate may be gone before its reason has arrived: with TLS 1.3 the client is
    /// through with its part of the handshake by then.
    private func failureAtIntroduction(_ error: any Error, at address: ServerAddress) -> StoreError {
        let failure = failure(error, at: address)
        guard tls != nil, !(error is StoreError), failure.code == .connectionFailed else { return failure }
        return StoreError(.connectionFailed, "\(failure.message); perhaps \(certificateAdvice)")
    }

    /// What to change, where TLS was refused: certificates that do not fit are a matter of configuration, not of the server's health.
    private func advice(on error: any Error, _ text: String) -> String? {
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return configuration.tls?.authorityFile == nil
                ? "the server's certificate is not accepted; name its authority in tls.authorityFile, or renew it where it has expired"
                : "the server's certificate is not accepted; check tls.authorityFile, and that the certificate has not expired"
        }
        if error is NIOSSLExtraError {
            return "the server's certificate is for another name; check the host, or set tls.serverName"
        }
        // What the server says of ours.
        if text.contains("ALERT"), text.contains("CERTIFICATE") || text.contains("UNKNOWN_CA") { return certificateAdvice }
        // TLS 1.2 has no word for a certificate that is missing.
        if text.contains("ALERT_HANDSHAKE_FAILURE") { return "no cipher is known to both, or \(certificateAdvice)" }
        return text.contains("NO_SHARED_CIPHER") ? "no cipher is known to both" : nil
    }

    private var certificateAdvice: String {
        configuration.tls?.certificateFile == nil
            ? "the server wants a client certificate; set tls.certificateFile and tls.keyFile"
            : "the server does not accept the client's certificate; check that tls.certificateFile has not expired, and that the server "
                + "trusts its authority"
    }
}

/// The server ended the connection before it had said that it takes it.
struct ClosedAtOnce: Error, CustomStringConvertible {
    var description: String { "The server closed the connection at once" }
}

extension RedisConfiguration.TLS {
    fileprivate func makeContext() throws(StoreError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        // A peer that is silent does not say goodbye either, and whoever waits for the next connection would wait for that.
        configuration.shutdownTimeout = .milliseconds(250)
        configuration.certificateVerification = verification == .none ? .none : .fullVerification
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
        do { return try NIOSSLContext(configuration: configuration) } catch {
            // Each by itself could be read.
            if let keyFile, case .failedToLoadPrivateKey? = error as? NIOSSLError {
                throw .invalid("tls.keyFile", "\(keyFile) is not the key of \(certificateFile ?? "the certificate")")
            }
            throw .invalid("tls.authorityFile", "\(authorityFile ?? "the system's authorities") cannot be used for TLS: \(error)")
        }
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

extension Duration {
    /// For timers: what is negative is none, what is beyond 292 years is that.
    var clampedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0 else { return 0 }
        guard seconds < Int64.max / 1_000_000_000 else { return .max }
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
