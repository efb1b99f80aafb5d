import Foundation
import Holdfast
import HoldfastStore
import Logging
import Testing

@testable import HoldfastServer

/// Where what is decided while the server is away is kept for it.
@Suite struct ConfiguredOutboxTests {
    private let folder: TemporaryFolder
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    init() throws { folder = try TemporaryFolder() }

    private var data: String { folder.url.appending(path: "data").path }

    /// A Redis that nobody serves.
    private func configuration(data: String?) -> HoldfastConfiguration {
        var configuration = HoldfastConfiguration()
        configuration.redis.isEnabled = true
        configuration.redis.address = .tcp(host: "127.0.0.1", port: 1)
        configuration.server.dataFolder = data
        return configuration
    }

    private let item = Outbox.Item("test.add@1", keys: [Key(raw: "k")], arguments: ["1"])

    @Test func withADataFolderItOutlivesTheProcess() async throws {
        let configuration = configuration(data: data)
        #expect(configuration.placeOfOutbox == "in \(data)/outbox (append-only file, appendfsync always)")
        let first = try await ConfiguredOutbox(configuration, logger: logger)
        #expect(first.outbox.status.isDurable)
        try await first.outbox.add(item)
        try await first.close()
        let second = try await ConfiguredOutbox(configuration, logger: logger)
        try await second.load(into: EmbeddedStore(), logger: logger)
        #expect(second.outbox.status.backlog == 1 && second.outbox.entries().first?.arguments == ["1"])
        try await second.close()
    }

    @Test func withoutOneItIsInMemoryAndSaysSo() async throws {
        let configuration = configuration(data: nil)
        #expect(configuration.placeOfOutbox?.contains("HOLDFAST_DATA would keep it") == true)
        #expect(try await ConfiguredOutbox(configuration, logger: logger).outbox.status.isDurable == false)
        var embedded = HoldfastConfiguration()
        embedded.server.dataFolder = data
        #expect(embedded.placeOfOutbox == nil && embedded.journalFolder == data)
    }

    @Test func itsBoundsAreThoseOfTheConfiguration() async throws {
        var configuration = configuration(data: nil)
        configuration.server.outbox.maximumEntries = 1
        configuration.server.outbox.maximumBytes = 0
        let outbox = try await ConfiguredOutbox(configuration, logger: logger).outbox
        #expect(outbox.configuration.maximumBytes == .max)
        try await outbox.add(item)
        let error = await #expect(throws: StoreError.self) { try await outbox.add(item) }
        #expect(error?.code == .outboxFull)
    }

    @Test func anEntryOfAnotherVersionStopsTheStart() async throws {
        let store = try await EmbeddedStore.open(data + "/outbox")
        _ = try await store(.hset(Key(raw: "outbox:entries"), [HashField("1", "of a later version")]))
        try await store.close()
        var configuration = configuration(data: data)
        configuration.server.apiKeys = [Secret("admin:secret")]
        let error = await #expect(throws: StoreError.self) {
            try await HoldfastService(configuration: configuration, environment: [:], logger: logger)
        }
        #expect(error?.code == .dataUnreadable && error?.field == "HOLDFAST_DATA")
    }

    @Test func aSecondProcessWithTheFolderIsTurnedAway() async throws {
        let holdfast = try CommandLineProgram()
        let arguments = ["serve", "--port", "0", "--data", "data", "--redis-url", "redis://127.0.0.1:1"]
        let first = try holdfast.start(arguments)
        defer { first.process.terminate() }
        try await first.waitUntilItSays("API key")
        #expect(first.output.contains("outbox   in data/outbox (append-only file, appendfsync always)"), "\(first.output)")
        let second = try await holdfast.run(arguments, environment: [:])
        #expect(second.status == 78)
        #expect(second.complaints.contains("HOLDFAST_DATA: The data folder data/outbox is in use"), "\(second.complaints)")
        let doctor = try await holdfast("config", "--data", "data", "--redis-url", "redis://127.0.0.1:1")
        #expect(doctor.output.contains("Outbox: in data/outbox"), "\(doctor.output)")
        #expect(await first.terminate() == 0, "\(first.complaints)")
    }
}
