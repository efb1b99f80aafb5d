import AsyncHTTPClient
import HoldfastStore
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// Sends calls to the endpoint and tells what became of them.
final class RESTClient: Sendable {
    let configuration: UpstashConfiguration
    private let url: String
    /// For calls.
    private let http: HTTPClient
    /// For streams, each of which keeps its connection: in one pool with the calls they would leave them none.
    private let streams: HTTPClient
    private let syncToken = Locked(SyncToken())
    /// How many calls are under way.
    private let calls = Atomic<Int>(0)

    /// - Parameter tls: that of the configuration, read.
    init(_ configuration: UpstashConfiguration, _ tls: TLSConfiguration?) {
        self.configuration = configuration
        url = configuration.url.hasSuffix("/") ? String(configuration.url.dropLast()) : configuration.url
        var settings = Self.settings(configuration, tls)
        http = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: settings)
        settings.timeout.read = .nanoseconds(configuration.streamIdleLimit.nanoseconds)
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.maximumStreams
        streams = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: settings)
    }

    /// Calls beyond wait for a connection, for the time that making one may take.
    private static let maximumConnections = 64
    /// Subscriptions beyond wait for a connection, and fail when the time for a call is over.
    private static let maximumStreams = 10_000

    private static func settings(_ configuration: UpstashConfiguration, _ tls: TLSConfiguration?) -> HTTPClient.Configuration {
        var http = HTTPClient.Configuration()
        http.tlsConfiguration = tls
        // Left to the endpoint it would be HTTP/2 where that is offered, over one connection: what breaks there breaks for all calls, how many
        // may be under way the endpoint says, often a hundred, and what a lost answer means would have to be found out anew.
        http.httpVersion = .http1Only
        // Another address would be given our token.
        http.redirectConfiguration = .disallow
        http.timeout.connect = .nanoseconds(configuration.connectTimeout.nanoseconds)
        // Whoever is not there is told at once, not tried again for the whole of a call's time.
        http.connectionPool.retryConnectionEstablishment = false
        // A connection that rested longer may be closed at the other end just when a write is sent.
        http.connectionPool.idleTimeout = .seconds(30)
        http.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = maximumConnections
        return http
    }

    func shutdown() async {
        try? await streams.shutdown()
        try? await http.shutdown()
    }

    deinit {
        streams.shutdown { _ in }
        http.shutdown { _ in }
    }

    // MARK: - Calls

    /// What the endpoint answered.
    ///
    /// - Throws: ``StoreError`` when there is no answer of the protocol's; an error that it answered to one command is a reply.
    func send(_ call: RESTCall) async throws(StoreError) -> RESTBody.Answer {
        guard call.body.count <= configuration.maximumRequestBytes else {
            throw StoreError(
                .tooLarge,
                "The request has \(call.body.count) bytes; the endpoint takes \(configuration.maximumRequestBytes)",
                field: "value")
        }
        do throws(StoreError) { return try await attempt(call) } catch {
            guard repeats(error, call) else { throw error }
            do throws(StoreError) { return try await attempt(call) } catch let last {
                // That the second was not even sent says nothing about the first.
                throw error.effect == .unknown ? last.withUnknownEffect() : last
            }
        }
    }

    /// A lost answer leaves open whether the command was carried out, so no write is sent again: also where twice is as once, the
    /// second could undo what somebody else wrote after the first.
    private func repeats(_ error: StoreError, _ call: RESTCall) -> Bool {
        guard configuration.retriesOnTimeout, call.isRead else { return false }
        return error.code == .connectionLost || error.code == .timeout
    }

    private func attempt(_ call: RESTCall) async throws(StoreError) -> RESTBody.Answer {
        var request = request(call.path, accepting: nil)
        if call.isJSON { request.headers.add(name: "Content-Type", value: "application/json") }
        let (number, token) = syncToken.withLock { $0.beginRequest() }
        if let token { request.headers.add(name: "Upstash-Sync-Token", value: token) }
        request.body = .bytes(call.body)
        let (status, body) = try await exchange(request, number, isRead: call.isRead)
        return try Self.answer(status, body)
    }

    func request(_ path: String, accepting type: String?) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.method = .POST
        request.headers.add(name: "Authorization", value: "Bearer \(configuration.token)")
        request.headers.add(name: "Upstash-Encoding", value: "base64")
        if let type { request.headers.add(name: "Accept", value: type) }
        return request
    }

    /// Sends and collects, within the call's time.
    private func exchange(
        _ request: HTTPClientRequest, _ number: Int, isRead: Bool
    ) async throws(StoreError) -> (status: UInt, body: ByteBuffer) {
        let (patience, isCallers) = try patience()
        let limit = configuration.maximumResponseBytes
        let isBeyond = calls.add(1, ordering: .relaxed).oldValue >= Self.maximumConnections
        defer { calls.subtract(1, ordering: .relaxed) }
        let result: Result<(UInt, ByteBuffer), any Error>
        do {
            result = .success(
                try await withThrowingTaskGroup(of: (UInt, ByteBuffer)?.self) { group in
                    group.addTask { [http, syncToken] in
                        let response = try await http.execute(request, deadline: .distantFuture)
                        if let token = response.headers.first(name: "Upstash-Sync-Token"), !token.isEmpty {
                            syncToken.withLock { $0.received(token, by: number) }
                        }
                        return (response.status.code, try await response.body.collect(upTo: limit))
                    }
                    group.addTask {
                        try await Task.sleep(for: patience)
                        return nil
                    }
                    defer { group.cancelAll() }
                    guard let first = try await group.next(), let answer = first else { throw TimedOut() }
                    return answer
                })
        } catch { result = .failure(error) }
        switch result {
        case .success(let answer): return answer
        case .failure(let error):
            // That all connections are taken says nothing against the endpoint: were it away, those who have them would say so.
            if isBeyond, error as? HTTPClientError == .getConnectionFromPoolTimeout {
                throw StoreError(
                    .overloaded, "\(Self.maximumConnections) calls were under way already, for \(configuration.connectTimeout)")
            }
            // The endpoint has answered, and would answer the same again.
            if error is NIOTooManyBytesError {
                throw StoreError(.tooLarge, "The answer has more than \(limit) bytes", effect: isRead ? .none : .unknown)
            }
            throw RESTFailure.error(error, isCallersDeadline: isCallers)
        }
    }

    /// How long this call may take, and whether that is its caller's limit.
    func patience() throws(StoreError) -> (Duration, isCallers: Bool) {
        guard let deadline = CallContext.current?.deadline else { return (configuration.commandTimeout, false) }
        let left = deadline - SystemTime.system.uptime
        guard left > .zero else { throw StoreError(.deadlineExceeded) }
        return left < configuration.commandTimeout ? (left, true) : (configuration.commandTimeout, false)
    }

    // MARK: - Answers

    private static func answer(_ status: UInt, _ body: ByteBuffer) throws(StoreError) -> RESTBody.Answer {
        let answer = RESTBody.answer(body.readableBytesView)
        // 400 is the status of a command's own error.
        if status == 200 || status == 400, let answer { return answer }
        var line: String?
        if case .one(.error(let error))? = answer { line = error.line }
        throw RESTFailure.error(status: status, line: line)
    }

    // MARK: - Streams

    /// The head of an endless answer; its body is read for as long as the task lives.
    func open(_ path: String) async throws(StreamEnd) -> HTTPClientResponse {
        let request = request(path, accepting: "text/event-stream")
        let response: HTTPClientResponse
        do {
            // The endpoint answers when it listens; only what comes then may take its time.
            response = try await streams.execute(
                request, deadline: .now() + .nanoseconds(configuration.commandTimeout.nanoseconds))
        } catch { throw .lost(RESTFailure.error(error, isCallersDeadline: false)) }
        guard response.status == .ok else {
            let body = try? await response.body.collect(upTo: 64 * 1024)
            throw StreamEnd(status: response.status.code, Self.failure(response.status.code, body ?? ByteBuffer()))
        }
        return response
    }

    private static func failure(_ status: UInt, _ body: ByteBuffer) -> StoreError {
        do throws(StoreError) {
            if case .one(.error(let error)) = try answer(status, body) { return StoreError(error) }
            return StoreError(.protocolViolation, "The endpoint answered no stream")
        } catch { return error }
    }
}

struct TimedOut: Error {}

/// The last token that the endpoint gave: it answers reads no older than the writes that came before it.
///
/// Of the request that began last: an older one's answer may come after it, and knows less.
private struct SyncToken {
    private var token: String?
    private var givenBy = 0
    private var requests = 0

    mutating func beginRequest() -> (number: Int, token: String?) {
        requests += 1
        return (requests, token)
    }

    mutating func received(_ token: String, by number: Int) {
        if number >= givenBy { (self.token, givenBy) = (token, number) }
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
