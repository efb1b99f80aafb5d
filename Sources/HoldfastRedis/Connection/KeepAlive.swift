import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// TCP's own questions on a connection on which nothing happens: the only sign that a server is gone where a command waits on it without
/// a limit (`BLPOP key 0`) and nothing may be sent meanwhile. The system's first question would come after two hours.
enum KeepAlive {
    /// The first question after so many seconds of silence, the next ones so far apart; the connection ends with the last that is unanswered.
    private static let (idle, pause, questions) = (30, 10, 3)

    /// What a bootstrap sets on a TCP socket. Where the system has no such settings, its own hold.
    static var options: [(ChannelOptions.Types.SocketOption, SocketOptionValue)] {
        #if canImport(Glibc) || canImport(Musl)
            [
                (option(TCP_KEEPIDLE), idle), (option(TCP_KEEPINTVL), pause), (option(TCP_KEEPCNT), questions),
            ]
        #else
            []
        #endif
    }

    private static func option(_ name: CInt) -> ChannelOptions.Types.SocketOption {
        ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: name))
    }
}
