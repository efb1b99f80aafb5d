import HoldfastStore
import NIOCore
import NIOPosix
import NIOSSL

/// Answers each HTTP request with the next of a fixed list of answers, and keeps what it was asked.
final class TranscriptPeer: Sendable {
    struct Request: Hashable, Sendable {
        /// `POST /pipeline HTTP/1.1`
        let line: String
        /// By lower-case name.
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    enum Answer: Sendable {
        case bytes(String)
        /// The connection closes without a word.
        case close
        /// The connection stays open without a word.
        case silence
    }

    private struct State {
        var answers: [Answer]
        var requests: [Request] = []
    }

    let port: Int
    private let scheme: String
    private let listener: any NIOCore.Channel
    private let state: Locked<State>

    var url: String { "\(scheme)://127.0.0.1:\(port)" }
    var requests: [Request] { state.withLock { $0.requests } }

    /// - Parameters:
    ///   - answers: the last is for all further requests.
    ///   - tls: what it shows its callers; nil for no TLS.
    static func start(_ answers: [Answer], tls: NIOSSLContext? = nil) async throws -> TranscriptPeer {
        let state = Locked(State(answers: answers))
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 64)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
                    try channel.pipeline.syncOperations.addHandler(Answerer(state))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return TranscriptPeer(listener, state, tls == nil ? "http" : "https")
    }

    private init(_ listener: any NIOCore.Channel, _ state: Locked<State>, _ scheme: String) {
        self.scheme = scheme
        self.listener = listener
        self.state = state
        port = listener.localAddress?.port ?? 0
    }

    func stop() async throws { try await listener.close() }

    /// A whole answer: status line, length and body.
    static func json(_ body: String, status: String = "200 OK", headers: [String] = []) -> Answer {
        let lines = ["HTTP/1.1 \(status)", "Content-Type: application/json", "Content-Length: \(body.utf8.count)"] + headers
        return .bytes(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }

    /// The beginning of a stream that goes on.
    static func stream(_ text: String, headers: [String] = []) -> Answer {
        let lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close"] + headers
        return .bytes(lines.joined(separator: "\r\n") + "\r\n\r\n" + text)
    }

    private final class Answerer: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let state: Locked<State>
        private var received: [UInt8] = []

        init(_ state: Locked<State>) { self.state = state }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += unwrapInboundIn(data).readableBytesView
            while let request = nextRequest() {
                let answer = state.withLock { state in
                    state.requests.append(request)
                    return state.answers.count > 1 ? state.answers.removeFirst() : state.answers[0]
                }
                switch answer {
                case .bytes(let text):
                    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
                    if text.contains("event-stream"), text.hasSuffix("END\n\n") { context.close(promise: nil) }
                case .close: context.close(promise: nil)
                case .silence: break
                }
            }
        }

        private func nextRequest() -> Request? {
            let text = String(decoding: received, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return nil }
            let head = text[..<end.lowerBound].split(separator: "\r\n").map(String.init)
            var headers: [String: String] = [:]
            for line in head.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                headers[parts[0].lowercased()] = parts.count > 1 ? parts[1].trimmingPrefix(" ").description : ""
            }
            let length = headers["content-length"].flatMap { Int($0) } ?? 0
            let start = text[..<end.upperBound].utf8.count
            guard received.count >= start + length else { return nil }
            let body = Array(received[start..<(start + length)])
            received.removeFirst(start + length)
            return Request(line: head[0], headers: headers, body: body)
        }
    }
}
