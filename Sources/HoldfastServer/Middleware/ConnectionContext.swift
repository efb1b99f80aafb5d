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

    /// Whether the peer has closed the connection, or its own direction of it. The two cannot be told apart before something is written, so
    /// this is for work that would go on for long, or in many steps: who asked for little gets its answer all the same.
    func hasLeft() async -> Bool {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        channel.triggerUserOutboundEvent(ConnectionHandler.IsPeerThere(), promise: promise)
        do {
            try await promise.futureResult.get()
            return false
        } catch {
            // A test without connections has nobody to answer the question.
            return error as? ChannelError != .operationUnsupported
        }
    }
}
