import Hummingbird
import NIOCore

/// What Hummingbird knows of a request besides the request itself.
struct ConnectionContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The peer's address without its port; nil for a Unix socket or a test without connections.
    let peer: String?
    private let channel: any Channel

    init(source: Source) {
        coreContext = .init(source: source)
        channel = source.channel
        peer = source.channel.remoteAddress?.ipAddress
    }

    /// Says that the request's body is about to be read: a peer that waits to hear so gets its `100 Continue`.
    func willReadBody() { channel.triggerUserOutboundEvent(ConnectionHandler.WillReadBody(), promise: nil) }
}
