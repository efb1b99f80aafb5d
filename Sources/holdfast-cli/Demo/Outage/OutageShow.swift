import Foundation
import Holdfast
import HoldfastRedis
import HoldfastStore

/// `holdfast demo --outage`: two instances of the services on a Redis that is killed under them and comes back with its data; and then
/// the proof that nothing that anybody was promised was lost, doubled or revived.
struct OutageShow {
    private let redis: DemoRedis
    private let ledger = OutageLedger()
    private let board: OutageBoard
    private let journal: DemoJournal
    private let isFast: Bool
    private let start = ContinuousClock.now

    /// - Parameter isFast: shortens the phases to what the proof needs.
    static func play(_ journal: DemoJournal, isQuiet: Bool, isFast: Bool) async throws -> String {
        let redis = try DemoRedis()
        do {
            try await OutageShow(
                redis: redis, board: OutageBoard(isQuiet: isQuiet), journal: journal, isFast: isFast
            ).play()
        } catch {
            await redis.remove()
            throw error
        }
        await redis.remove()
        return redis.version
    }

    private init(redis: DemoRedis, board: OutageBoard, journal: DemoJournal, isFast: Bool) {
        (self.redis, self.board, self.journal, self.isFast) = (redis, board, journal, isFast)
    }

    private func play() async throws {
        try await redis.start()
        board.tell(
            "\(redis.version) runs as process \(redis.pid ?? 0) (appendonly yes, appendfsync always). Two instances use it.")
        let instances = [try await OutageInstance("A", redis, ledger), try await OutageInstance("B", redis, ledger)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for instance in instances { group.addTask { await instance.watch() } }
            do {
                try await act(instances)
                try await OutageProof(journal: journal, ledger: ledger, instances: instances, redis: redis).show()
            } catch {
                group.cancelAll()
                for instance in instances { await instance.close() }
                throw error
            }
            group.cancelAll()
            try await group.waitForAll()
        }
        for instance in instances { await instance.close() }
    }

    // MARK: - Acts

    private func act(_ instances: [OutageInstance]) async throws {
        try await wait("each instance counts the other") { instances.allSatisfy { $0.state.instances.count == 2 } }
        let shared = try await prepare(instances)
        let load = Task {
            await withTaskGroup(of: Void.self) { group in
                for instance in instances { group.addTask { await instance.work() } }
            }
        }
        defer { load.cancel() }
        try await watch("1 of 3: the server is there", instances, for: .seconds(isFast ? 1 : 6))

        let killed = ContinuousClock.now
        let pid = redis.pid ?? 0
        await redis.crash()
        tell("kill -9 \(pid)")
        try await tellWhen(instances, toLocal: true, since: killed, "decides here,", "after the kill")
        let title = "2 of 3: the server is away"
        try await watch(title, instances, for: .seconds(isFast ? 0.5 : 5), isLast: false)
        await disagree(instances, shared)
        try await watch(title, instances, for: .seconds(isFast ? 1 : 7))

        try await redis.start()
        let restarted = ContinuousClock.now
        tell("\(redis.version) is back as process \(redis.pid ?? 0), with what it had")
        try await tellWhen(
            instances, toLocal: false, since: restarted, "has handed over and asks the server again,", "after that")
        // Longer than a near copy may be shown after another instance has changed the value.
        try await watch("3 of 3: the server is back", instances, for: OutageInstance.nearTTL + .seconds(isFast ? 0.2 : 4))
        load.cancel()
        await load.value
        try await wait("the outboxes are empty") { instances.allSatisfy { $0.state.failover.outbox.isEmpty && !$0.isLocal } }
    }

    /// What both instances have seen when the server goes away.
    private func prepare(_ instances: [OutageInstance]) async throws -> [SessionID] {
        for number in 0..<OutageProof.items { try await instances[0].state.cache.set("item:\(number)", "old") }
        var shared: [SessionID] = []
        for _ in 0..<20 {
            let session = try await instances[0].state.sessions.create(userID: "user-shared")
            ledger.accept(session.id, whileAway: false)
            shared.append(session.id)
        }
        for instance in instances {
            for number in 0..<OutageProof.items { _ = try await instance.state.cache.get("item:\(number)", as: String.self) }
            for id in shared { _ = try await instance.state.sessions.get(id) }
        }
        return shared
    }

    /// Each cut-off instance does what the other does not hear of: they invalidate each its half of the values, and one logs sessions
    /// out that the other changes.
    private func disagree(_ instances: [OutageInstance], _ shared: [SessionID]) async {
        for number in 0..<OutageProof.items {
            let instance = instances[number % 2]
            _ = await instance.cache.measure { () async throws(StoreError) in
                let decided = try await instance.state.cache.delete("item:\(number)")
                return (decided.value, decided.by)
            }
        }
        for id in shared { await instances[0].change(id) }
        for id in shared.prefix(10) { await instances[1].end(id) }
        tell("A and B each invalidate \(OutageProof.items / 2) values; A changes 20 sessions of which B logs 10 out")
    }

    // MARK: - Telling

    private func tell(_ line: String) {
        board.tell("  \(OutageBoard.text(ContinuousClock.now - start))  \(line)")
    }

    private func tellWhen(
        _ instances: [OutageInstance], toLocal: Bool, since start: ContinuousClock.Instant, _ what: String, _ after: String
    ) async throws {
        for instance in instances {
            try await wait("instance \(instance.name) notices") {
                ledger.delay(of: instance.name, toLocal: toLocal, since: start) != nil
            }
            let delay = ledger.delay(of: instance.name, toLocal: toLocal, since: start) ?? .zero
            let handedOver = instance.state.failover.outbox.status.handedOver
            let count = toLocal ? "" : " (\(handedOver) decisions)"
            tell("instance \(instance.name) \(what) \(OutageBoard.text(delay)) \(after)\(count)")
        }
    }

    private func watch(
        _ title: String, _ instances: [OutageInstance], for span: Duration, isLast: Bool = true
    ) async throws {
        let end = ContinuousClock.now + span
        while ContinuousClock.now < end {
            board.draw(title, instances)
            try await Task.sleep(for: min(.milliseconds(200), max(.milliseconds(1), end - ContinuousClock.now)))
        }
        if isLast { board.draw(title, instances, isLast: true) }
    }

    private func wait(_ what: String, until holds: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while !holds() {
            guard ContinuousClock.now < end else {
                throw CommandFailure(.software, "within a minute it did not come about that \(what)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
