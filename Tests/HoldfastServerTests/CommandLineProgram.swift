import Foundation
import HoldfastStore
import Testing

/// Runs the built `holdfast` as users do.
struct CommandLineProgram {
    struct Result: Sendable {
        let status: Int32
        let output: String
        let complaints: String
    }

    /// The working directory, and where the command's own files go.
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// The program lies beside the test bundle, in the same build folder.
    private static func executable() throws -> URL {
        let candidates = [Bundle.main.bundleURL, URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()]
        let paths = candidates.flatMap {
            [$0.appending(path: "holdfast"), $0.deletingLastPathComponent().appending(path: "holdfast")]
        }
        return try #require(
            paths.first { FileManager.default.isExecutableFile(atPath: $0.path) }, "holdfast is not built: swift build")
    }

    func callAsFunction(_ arguments: String..., environment: [String: String] = [:]) async throws -> Result {
        try await run(arguments, environment: environment)
    }

    /// Waits for the end without holding a thread of the test runner; output goes through files, which cannot fill up.
    func run(_ arguments: [String], environment: [String: String]) async throws -> Result {
        let process = try prepare(arguments, environment: environment)
        let files = try (output(process, \.standardOutput), output(process, \.standardError))
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in continuation.resume() }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        let (standard, error) = try (String(contentsOf: files.0, encoding: .utf8), String(contentsOf: files.1, encoding: .utf8))
        return Result(status: process.terminationStatus, output: standard, complaints: error)
    }

    /// Nothing of the test runner's environment gets through, nor of the user's own files.
    func prepare(_ arguments: [String], environment: [String: String]) throws -> Process {
        let process = Process()
        process.executableURL = try Self.executable()
        process.arguments = arguments
        process.currentDirectoryURL = folder.url
        let own = ["HOME": folder.url.path, "PATH": "/usr/bin:/bin"]
        process.environment = own.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        return process
    }

    /// Starts a program that goes on, such as `serve`.
    func start(_ arguments: String..., environment: [String: String] = [:]) throws -> Running {
        try start(arguments, environment: environment)
    }

    func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Running {
        let process = try prepare(arguments, environment: environment)
        let files = try (output(process, \.standardOutput), output(process, \.standardError))
        let (ends, continuation) = AsyncStream<Int32>.makeStream()
        process.terminationHandler = {
            continuation.yield($0.terminationReason == .exit ? $0.terminationStatus : -$0.terminationStatus)
            continuation.finish()
        }
        try process.run()
        return Running(process: process, standardOutput: files.0, standardError: files.1, ends: ends)
    }

    /// Runs `serve` on a free port while the body runs, with its files in the program's folder, and lets it end gracefully.
    func serving(
        environment: [String: String] = [:], _ body: (_ server: Running, _ url: String) async throws -> Void
    ) async throws {
        let server = try start("serve", "--port", "0", environment: environment)
        defer { if server.process.isRunning { kill(server.process.processIdentifier, SIGKILL) } }
        try await server.waitUntilItSays("API key")
        let line = try #require(server.output.split(separator: "\n").first { $0.contains("http://") })
        try await body(server, String(line[try #require(line.firstRange(of: "http://")).lowerBound...]))
        let start = ContinuousClock.now
        #expect(await server.terminate() == 0, "\(server.complaints)")
        // Of its own accord it takes 10 s at most; other tests may hold it up.
        #expect(ContinuousClock.now - start < .seconds(60))
    }

    /// A program that runs until it is told to end.
    struct Running {
        let process: Process
        let standardOutput: URL
        let standardError: URL
        let ends: AsyncStream<Int32>

        /// What it has said so far.
        var output: String { (try? String(contentsOf: standardOutput, encoding: .utf8)) ?? "" }
        var complaints: String { (try? String(contentsOf: standardError, encoding: .utf8)) ?? "" }

        /// Waits until it has said this, or has ended, or a minute is over.
        func waitUntilItSays(_ text: String) async throws {
            for _ in 0..<1200 where process.isRunning && !output.contains(text) { try await Task.sleep(for: .milliseconds(50)) }
            try #require(output.contains(text), "it said: \(output)\(complaints)")
        }

        /// Sends SIGTERM and waits for the end.
        func terminate() async -> Int32 {
            process.terminate()
            for await status in ends { return status }
            return process.terminationStatus
        }
    }

    private func output(_ process: Process, _ path: ReferenceWritableKeyPath<Process, Any?>) throws -> URL {
        let file = folder.url.appending(path: "output-\(UUID().uuidString)")
        try Data().write(to: file)
        process[keyPath: path] = try FileHandle(forWritingTo: file)
        return file
    }
}
