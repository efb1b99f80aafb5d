import Foundation
import HoldfastStore

/// A real redis-server for tests: its own folder, its own ports, ended by its process id.
///
///     let server = try await RedisProcess.start()
///     defer { server.stop() }
///
/// A server that cannot be started fails the test; nothing is skipped. Servers that a test leaves behind end with the process,
/// also when it is killed.
public final class RedisProcess: Sendable {
    public struct Options: Sendable {
        /// Listens on a Unix socket in its folder.
        public var unixSocket = true
        /// Listens on a free port of 127.0.0.1.
        public var tcp = true
        /// Listens with TLS on another free port; see ``RedisProcess/certificates``.
        public var tls = false
        public var password: String?
        /// Lines of an ACL file, such as `user ann on >secret ~* &* +@all`. The default user stays as it is.
        public var users: [String] = []
        /// Further lines of redis.conf, such as `maxmemory 10mb`.
        public var configuration: [String] = []
        /// The clock on its wall; that of this machine where it is nil.
        public var clock: ServerClock?
        /// Whether it is a sentinel, which knows the lines of ``configuration`` only.
        var isSentinel = false
        /// Whether the port plus 10000 must be free too: there a cluster's nodes talk to each other.
        var needsBusPort = false

        public init() {}
    }

    public let folder: String
    public let port: Int
    public let tlsPort: Int
    /// The port that others are told of: the one with TLS where there is one.
    var servingPort: Int { tlsPort > 0 ? tlsPort : port }
    public var socketPath: String { folder + "/redis.sock" }
    /// What the TLS port uses; made once for all servers of the process.
    public let certificates: Certificates?

    /// Certificates for servers of this process, also for such as need others than ``Options/tls`` gives.
    public static func sharedCertificates() throws -> Certificates { try TestFolders.certificates() }

    let password: String?
    private let clock: ServerClock?
    private let isSentinel: Bool
    private let process = Locked<ChildProcess?>(nil)

    /// Starts a server and waits until it serves.
    public static func start(_ options: Options = Options()) async throws -> RedisProcess {
        // Between picking a free port and listening on it another process may take it: then with other ports.
        for _ in 0..<5 {
            let server = try RedisProcess(options)
            do {
                try await server.launch()
                return server
            } catch let error as TestServerError where error.description.contains("Address already in use") {
                server.stop()
            }
        }
        throw TestServerError("no free port for redis-server was found in five attempts")
    }

    private init(_ options: Options) throws {
        folder = try TestFolders.make("redis")
        certificates = options.tls ? try TestFolders.certificates() : nil
        port = options.tcp ? try FreePort.pick(needsBusPort: options.needsBusPort) : 0
        password = options.password
        clock = options.clock
        isSentinel = options.isSentinel
        // A cluster whose nodes speak TLS among themselves counts its bus port from the TLS port.
        tlsPort = options.tls ? try FreePort.pick(needsBusPort: options.needsBusPort) : 0
        var lines = ["port \(port)", "bind 127.0.0.1", "dir \(folder)", "daemonize no"]
        if !options.isSentinel { lines += ["save \"\"", "enable-debug-command local"] }
        if options.unixSocket { lines.append("unixsocket \(folder)/redis.sock") }
        if let certificates {
            lines += [
                "tls-port \(tlsPort)", "tls-auth-clients optional", "tls-ca-cert-file \(certificates.authority)",
                "tls-cert-file \(certificates.serverCertificate)", "tls-key-file \(certificates.serverKey)",
            ]
        }
        if let password = options.password { lines.append("requirepass \"\(password)\"") }
        if !options.users.isEmpty {
            let path = folder + "/users.acl"
            let standard = options.password == nil ? ["user default on nopass ~* &* +@all"] : []
            try (standard + options.users).joined(separator: "\n").write(toFile: path, atomically: false, encoding: .utf8)
            lines.append("aclfile \(path)")
        }
        lines += options.configuration
        let text = lines.joined(separator: "\n") + "\n"
        try text.write(toFile: folder + "/redis.conf", atomically: false, encoding: .utf8)
    }

    /// Stops the server in its tracks (SIGSTOP): connections stay open, nothing is answered.
    public func pause() { process.withLock { $0 }?.signal(SIGSTOP) }

    /// Goes on after ``pause()``.
    public func resume() { process.withLock { $0 }?.signal(SIGCONT) }

    /// Ends the server at once (SIGKILL). ``restart()`` brings it back on the same ports.
    public func kill() {
        guard let running = process.withLock({ $0 }) else { return }
        running.signal(SIGKILL)
        running.wait()
    }

    /// Kills the server if it runs and starts it again, on the same ports. What it held is gone, unless the configuration says
    /// otherwise.
    public func restart() async throws {
        kill()
        try await launch()
    }

    /// Kills the server and removes its folder.
    public func stop() {
        kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// What the server has written to its standard output.
    public var log: String { (try? String(contentsOfFile: folder + "/stdout", encoding: .utf8)) ?? "" }

    private func launch() async throws {
        try? FileManager.default.removeItem(atPath: folder + "/stdout")
        let child: ChildProcess
        do {
            child = try ChildProcess(
                (clock?.command ?? []) + [isSentinel ? "redis-sentinel" : "redis-server", folder + "/redis.conf"],
                standardOutput: folder + "/stdout", standardError: folder + "/stderr")
        } catch {
            throw TestServerError(
                "\(error). These tests need a Redis server: install redis-server and redis-sentinel (scripts/test does).")
        }
        process.withLock { $0 = child }
        try Guardian.watch(child)
        let end = ContinuousClock.now + .seconds(30)
        while !log.contains(isSentinel ? "Sentinel ID is" : "Ready to accept connections") {
            guard child.isRunning, ContinuousClock.now < end else {
                let errors = (try? String(contentsOfFile: folder + "/stderr", encoding: .utf8)) ?? ""
                throw TestServerError("redis-server did not come up: \(log.suffix(600)) \(errors.suffix(300))")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

/// Ends servers that their tests did not: at exit of this process, and, through a small shell beside each server, when this
/// process is killed.
private enum Guardian {
    private static let children = Locked<[ChildProcess]>([])
    private static let registered: Bool = {
        atexit { Guardian.endAll() }
        return true
    }()

    static func watch(_ child: ChildProcess) throws {
        guard registered else { return }
        children.withLock { children in
            children.removeAll { !$0.isRunning }
            children.append(child)
        }
        let script = "while kill -0 \(getpid()) && kill -0 \(child.id); do sleep 1; done; kill -9 \(child.id)"
        let shell = try ChildProcess(["/bin/sh", "-c", script], standardOutput: "/dev/null", standardError: "/dev/null")
        children.withLock { $0.append(shell) }
    }

    private static func endAll() {
        for child in children.withLock({ $0 }) {
            child.signal(SIGKILL)
            child.wait()
        }
        TestFolders.removeAll()
    }
}

/// Private folders of this test process, under one that is removed at exit.
enum TestFolders {
    private static let root = NSTemporaryDirectory() + "holdfast-tests-\(getpid())"
    private static let shared = Locked<Certificates?>(nil)

    static func make(_ name: String) throws -> String {
        let folder = "\(root)/\(name)-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        return folder
    }

    static func certificates() throws -> Certificates {
        try shared.withLock { certificates throws -> Certificates in
            if let certificates { return certificates }
            let made = try Certificates.make(in: try make("certificates"))
            certificates = made
            return made
        }
    }

    static func removeAll() { try? FileManager.default.removeItem(atPath: root) }
}
