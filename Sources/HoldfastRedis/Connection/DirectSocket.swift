import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

#if canImport(Glibc)
    private let platformSend = Glibc.send
#elseif canImport(Musl)
    private let platformSend = Musl.send
#endif

/// A second descriptor of a channel's socket, by which any thread can send without waking the channel's event loop.
///
/// It is one of its own, because the channel closes its descriptor on the event loop, and its number may mean another socket a moment
/// later. The socket lives as long as either does: whoever hears that the channel has closed lets go of this too.
final class DirectSocket: Sendable {
    private let descriptor: Int32

    /// - Returns: nil where bytes must pass through the channel's handlers (TLS), and on systems where a send to a closed socket could end
    ///   the process.
    init?(_ channel: any NIOCore.Channel, isPlain: Bool) {
        #if canImport(Glibc) || canImport(Musl)
            guard isPlain,
                let copy = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                    of: CInt.self, { fcntl($0, F_DUPFD_CLOEXEC, 0) }), copy >= 0
            else { return nil }
            descriptor = copy
        #else
            return nil
        #endif
    }

    deinit {
        #if canImport(Glibc) || canImport(Musl)
            _ = close(descriptor)
        #endif
    }

    /// Whether the server has not ended the connection, in whatever way, as far as has been heard here. The event loop may not have come to
    /// it yet.
    var isOpen: Bool {
        #if canImport(Glibc) || canImport(Musl)
            var byte: UInt8 = 0
            let count = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT | MSG_PEEK))
            return count > 0 || count < 0 && (errno == EAGAIN || errno == EINTR)
        #else
            return false
        #endif
    }

    /// Sends what the socket takes at once.
    ///
    /// - Returns: how many bytes that were; nil where the connection is broken.
    func send(_ bytes: [UInt8]) -> Int? {
        #if canImport(Glibc) || canImport(Musl)
            while true {
                let count = bytes.withUnsafeBytes {
                    platformSend(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
                }
                if count >= 0 { return count }
                switch errno {
                case EINTR: continue
                case EAGAIN: return 0
                default: return nil
                }
            }
        #else
            return nil
        #endif
    }
}
