import Foundation
import Holdfast
import HoldfastServer
import HoldfastStore
import Logging

/// A data folder that no server has, opened for one command: the same service on a port of its own, with a key of its own, for as
/// long as the command takes. So a command answers the same with a server and without.
enum FolderService {
    /// The address of the server that has the folder; nil where none has. One that has its entries in a Redis has only what it keeps for that.
    static func running(in folder: String, _ configuration: HoldfastConfiguration) throws -> String? {
        let outbox = HoldfastConfiguration.outboxFolder(in: folder)
        do throws(StoreError) {
            if FileManager.default.fileExists(atPath: outbox) { _ = try FolderLock(outbox) }
            _ = try FolderLock(folder)
            return nil
        } catch {
            guard error.code == .folderInUse else { throw CommandFailure(.configuration, error.message) }
            return ServedAddress(folder: folder).url ?? APIClient.localURL(configuration.server)
        }
    }

    static func withService<Output>(
        _ given: HoldfastConfiguration, _ body: (_ url: String, _ key: String) async throws -> Output
    ) async throws -> Output {
        var configuration = given
        let key = String(UInt64.random(in: .min ... .max), radix: 36) + String(UInt64.random(in: .min ... .max), radix: 36)
        (configuration.server.host, configuration.server.port) = ("127.0.0.1", 0)
        configuration.server.resp = nil
        (configuration.server.tlsCertificateFile, configuration.server.tlsKeyFile) = (nil, nil)
        configuration.server.apiKeys = [Secret("admin:\(key)")]
        // Standard output is the command's; and that the service is ended with it is nothing to be told.
        var logger = Logger(label: "holdfast", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = .critical
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let service: HoldfastService
        do throws(StoreError) {
            service = try await HoldfastService(
                configuration: configuration, environment: ProcessInfo.processInfo.environment, logger: logger
            ) { _, ports in continuation.yield(ports.http) }
        } catch {
            throw CommandFailure(.configuration, error.message)
        }
        if let cut = Health(failover: service.state.failover, namespace: service.state.namespace).journal?.load.cut {
            Terminal.complain("\(cut.file) ended within a command, as a crash leaves it; \(cut.bytes) bytes were cut off")
        }
        let running = Task {
            defer { continuation.finish() }
            try await service.run()
        }
        let result: Result<Output, any Error>
        do {
            guard let port = await ports.first(where: { _ in true }) else {
                throw CommandFailure(.software, "the data folder could not be opened")
            }
            result = .success(try await body("http://127.0.0.1:\(port)", key))
        } catch {
            result = .failure(error)
        }
        // Writes and syncs what was changed, and lets go of the folder.
        running.cancel()
        _ = await running.result
        return try result.get()
    }
}
