import Hummingbird
import NIOCore

/// What Hummingbird knows of a request besides the request itself.
struct ConnectionContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The peer's address without its port; nil for a Unix socket or a test without connections.
    let peer: String?

    init(source: Source) {
        coreContext = .init(source: source)
        peer = source.channel.remoteAddress?.ipAddress
    }
}
