import HoldfastStore

#if canImport(Glibc)
    public import Glibc
#elseif canImport(Musl)
    public import Musl
#else
    public import Darwin
#endif

/// A program that this process started, reached by its process id only. Its output goes to files, because an inherited pipe would
/// block whoever reads ours.
public final class ChildProcess: Sendable {
    public let id: pid_t
    private let status = Locked<Int32?>(nil)

    public init(_ arguments: [String], standardOutput: String, standardError: String) throws {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
        #else
            var actions = posix_spawn_file_actions_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, standardOutput, flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, standardError, flags, 0o600)
        // Foundation sees the end of its processes by a socket that they hold: a server that inherits one at the wrong moment, and
        // lives as long as the tests, would keep a test waiting for a program that has long ended.
        try Self.closeOthers(&actions)
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var id: pid_t = 0
        let result = posix_spawnp(&id, arguments[0], &actions, nil, &pointers, environ)
        guard result == 0 else {
            throw TestServerError("\(arguments[0]) cannot be started: \(String(cString: strerror(result)))")
        }
        self.id = id
    }

    #if canImport(Glibc)
        /// `posix_spawn_file_actions_addclosefrom_np` (glibc 2.34), which the module map does not show.
        private static func closeOthers(_ actions: inout posix_spawn_file_actions_t) throws {
            typealias Function = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
            guard let symbol = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else {
                throw TestServerError("glibc 2.34 or later is needed to start servers")
            }
            _ = unsafeBitCast(symbol, to: Function.self)(&actions, 3)
        }
    #else
        private static func closeOthers(_ actions: inout posix_spawn_file_actions_t?) throws {}
    #endif

    public func signal(_ number: Int32) {
        status.withLock { if $0 == nil { _ = Self.send(number, to: id) } }
    }

    /// Whether it has not ended yet.
    public var isRunning: Bool { reap(options: WNOHANG) == nil }

    /// Waits for the end; the exit code, or 128 and the signal's number.
    @discardableResult
    public func wait() -> Int32 { reap(options: 0) ?? -1 }

    private func reap(options: Int32) -> Int32? {
        status.withLock { status in
            if let status { return status }
            var raw: Int32 = 0
            guard waitpid(id, &raw, options) == id else { return nil }
            let code = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F)
            status = code
            return code
        }
    }

    private static func send(_ number: Int32, to id: pid_t) -> Int32 { kill(id, number) }
}
