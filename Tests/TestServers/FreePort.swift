import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Picks a port of 127.0.0.1 that nobody listens on now, and that this process has not been given before: a server that was killed
/// comes back on its own.
public enum FreePort {
    /// Below what the system gives to clients, so that no connection takes one while its server is down.
    private static let range = 10_000...30_000
    private static let given = Locked<Set<Int>>([])

    public static func pick() throws -> Int { try pick(needsBusPort: false) }

    /// - Parameter needsBusPort: whether the port plus 10000 has to be free too, for a cluster's node.
    static func pick(needsBusPort: Bool) throws -> Int {
        for _ in 0..<1000 {
            let port = Int.random(in: needsBusPort ? 10_000...20_000 : range)
            let ports = needsBusPort ? [port, port + 10_000] : [port]
            let areNew = given.withLock { given in
                guard given.isDisjoint(with: ports) else { return false }
                given.formUnion(ports)
                return true
            }
            if areNew, ports.allSatisfy(isFree) { return port }
        }
        throw TestServerError("no free port was found")
    }

    /// Binds a socket to the port and closes it.
    private static func isFree(_ port: Int) -> Bool {
        #if canImport(Glibc)
            let type = Int32(SOCK_STREAM.rawValue)
        #else
            let type = SOCK_STREAM
        #endif
        let socket = socket(AF_INET, type, 0)
        guard socket >= 0 else { return false }
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, length) == 0 }
        }
    }
}
