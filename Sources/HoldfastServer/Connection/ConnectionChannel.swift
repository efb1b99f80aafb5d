import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL

/// Hummingbird's HTTP/1.1 channel with a ``ConnectionHandler`` at its parser.
struct ConnectionChannel: HTTPChannelHandler {
    typealias Value = HTTP1Channel.Value

    let base: HTTP1Channel
    let limits: ConnectionLimits
    let metrics: ConnectionMetrics
    /// Nil for HTTP without TLS.
    let tls: NIOSSLContext?

    var responder: HTTPChannelHandler.Responder { base.responder }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let parser = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            let handler = ConnectionHandler(limits: limits, metrics: metrics, logger: logger)
            try pipeline.addHandler(ConnectionTap(handler), position: .before(parser))
            try pipeline.addHandler(handler, position: .after(parser))
            if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls), position: .first) }
            return value
        }
    }

    func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}
