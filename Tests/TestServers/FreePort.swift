#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Picks a port of 127.0.0.1 that nobody listens on now.
public enum FreePort {
    /// - Parameter needsBusPort: whether the port plus 10000 has to be free too, for a cluster's node.
    static func pick(needsBusPort: Bool) throws -> Int {
        guard needsBusPort else { return try pick() }
        // Below what the system gives to clients, so that no connection takes the second one meanwhile.
        for _ in 0..<200 {
            let port = Int.random(in: 10_000...20_000)
            if isFree(port), isFree(port + 10_000) { return port }
        }
        throw TestServerError("no two free ports were found that are 10000 apart")
    }

    private static func isFree(_ port: Int) -> Bool { (try? bound(to: port)) != nil }

    public static func pick() throws -> Int { try bound(to: 0) }

    /// Binds a socket to the port, or to any where it is 0, closes it and answers which it was.
    private static func bound(to port: Int) throws -> Int {
        #if canImport(Glibc)
            let type = Int32(SOCK_STREAM.rawValue)
        #else
            let type = SOCK_STREAM
        #endif
        let socket = socket(AF_INET, type, 0)
        guard socket >= 0 else { throw TestServerError("no socket: \(String(cString: strerror(errno)))") }
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && getsockname(socket, address, &length) == 0
            }
        }
        guard result else { throw TestServerError("no free port: \(String(cString: strerror(errno)))") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
