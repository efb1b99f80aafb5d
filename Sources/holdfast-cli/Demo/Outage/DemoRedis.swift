import Foundation
import HoldfastStore

/// A redis-server of the demonstration's own, on a private socket, that keeps what it acknowledged; and that can be killed.
final class DemoRedis: Sendable {
    let socketPath: String
    let version: String
    private let folder: URL
    private let executable: URL
    private let process: Locked<Process?> = Locked(nil)
    private let guardian: Locked<Process?> = Locked(nil)

    /// - Throws: ``CommandFailure`` where no redis-server is installed, or it does not start.
    init() throws {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let names = (folders + ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]).flatMap { folder in
            ["redis-server", "valkey-server"].map { "\(folder)/\($0)" }
        }
        guard let found = names.first(where: FileManager.default.isExecutableFile(atPath:)) else {
            throw CommandFailure(
                .unavailable,
                [
                    "this demonstration kills a Redis of its own, and no redis-server is installed",
                    "install one: apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora), brew install redis (macOS)",
                ])
        }
        executable = URL(filePath: found)
        // Short, because the path of a socket has 107 bytes at most.
        folder = URL(filePath: "/tmp").appending(path: "holdfast-demo-\(UInt32.random(in: .min ... .max))")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        socketPath = folder.appending(path: "redis.sock").path
        version = Self.version(of: executable)
    }

    var pid: Int32? { process.withLock { $0?.processIdentifier } }

    /// Starts it, with what it held when it was killed, and waits until it serves.
    func start() async throws {
        let running = Process()
        running.executableURL = executable
        // Before it answers a write it is on the disk: what was accepted is there after a kill.
        running.arguments = [
            "--port", "0", "--unixsocket", socketPath, "--dir", folder.path, "--save", "", "--appendonly", "yes",
            "--appendfsync", "always",
        ]
        let log = folder.appending(path: "log")
        try Data().write(to: log)
        running.standardInput = FileHandle.nullDevice
        (running.standardOutput, running.standardError) = try (FileHandle(forWritingTo: log), FileHandle(forWritingTo: log))
        try running.run()
        process.withLock { $0 = running }
        try watch(running.processIdentifier)
        let end = ContinuousClock.now + .seconds(60)
        while !((try? String(contentsOf: log, encoding: .utf8))?.contains("eady to accept connections") ?? false) {
            guard running.isRunning, ContinuousClock.now < end else {
                throw CommandFailure(.unavailable, "\(executable.path) did not start; see \(log.path)")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// kill -9, and waits for its end.
    func crash() async {
        let running = process.withLock { process in
            defer { process = nil }
            return process
        }
        guard let running else { return }
        guardian.withLock { $0 }?.terminate()
        kill(running.processIdentifier, SIGKILL)
        while running.isRunning { try? await Task.sleep(for: .milliseconds(2)) }
    }

    /// Ends it and removes what it kept.
    func remove() async {
        await crash()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Ends the server when this process ends, however it does: the guardian's input closes then.
    private func watch(_ pid: Int32) throws {
        let shell = Process()
        shell.executableURL = URL(filePath: "/bin/sh")
        shell.arguments = ["-c", "trap '' INT; read line; kill -9 \(pid); rm -rf '\(folder.path)'"]
        shell.standardInput = Pipe()
        (shell.standardOutput, shell.standardError) = (FileHandle.nullDevice, FileHandle.nullDevice)
        try shell.run()
        guardian.withLock { $0 = shell }
    }

    private static func version(of executable: URL) -> String {
        let process = Process()
        let pipe = Pipe()
        (process.executableURL, process.arguments, process.standardOutput) = (executable, ["--version"], pipe)
        guard (try? process.run()) != nil else { return "" }
        let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let number = text.split(separator: " ").first { $0.hasPrefix("v=") }?.dropFirst(2) ?? ""
        return "\(executable.lastPathComponent == "valkey-server" ? "Valkey" : "Redis") \(number)"
    }
}
