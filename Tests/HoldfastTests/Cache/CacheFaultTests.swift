import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

/// Two processes with near caches over one server. Each call of one of them fails in turn, before or after its effect, until all of a
/// scenario passes untouched: nobody reads a value that is older than an invalidation that was answered.
@Suite struct CacheFaultTests {
    @Test(arguments: [FaultyStore.Moment.beforeEffect, .afterEffect])
    func noSingleFailureBringsBackWhatWasInvalidated(_ moment: FaultyStore.Moment) async throws {
        var call = 0
        var isStruck = true
        while isStruck {
            call += 1
            var scenario = Scenario()
            scenario.line.fail(call: call, with: StoreError(.connectionLost, effect: .unknown), moment)
            for change in Scenario.Change.allCases { try await scenario.play(change, "call \(call), \(change)") }
            isStruck = scenario.line.calls >= call
            try await scenario.end("call \(call)")
        }
        // A change is at least one call to the server, and what is looked at around it several.
        #expect(call > 30)
    }

    /// What a factory computed is invalidated in one of the ways, and then the server goes away: of all calls to it until then any two fail,
    /// too few for an outage. What this process reads by itself is not what was computed before.
    @Test(arguments: Scenario.Change.invalidations, [FaultyStore.Moment.beforeEffect, .afterEffect])
    fileprivate func noTwoFailuresBringBackWhatWasInvalidated(
        _ change: Scenario.Change, _ moment: FaultyStore.Moment
    ) async throws {
        // How many calls there are depends on which of them fail.
        let most = 40
        var isStruck = (first: true, pairs: 0)
        for first in 1..<most where isStruck.first {
            for second in (first + 1)...most {
                var scenario = Scenario()
                scenario.line.fail(calls: [first, second], with: StoreError(.connectionLost, effect: .unknown), moment)
                let calls = try await scenario.playFill(until: change, "calls \(first) and \(second)")
                isStruck = (calls >= first, isStruck.pairs + 1)
                if calls < second { break }
            }
        }
        #expect(!isStruck.first, "more calls than are tried")
        // Three calls for each of three fills, and the change.
        #expect(isStruck.pairs > 45)
    }
}

/// Values are numbers that only rise: what may be read still is what is not smaller than a floor.
private struct Scenario {
    enum Change: CaseIterable {
        case set, setMany, delete, invalidate, fill, category, clear

        static let invalidations = allCases.filter { $0 != .fill }
    }

    let time = ManualTime()
    let line: FaultyStore
    private let failover: Failover
    /// The process whose calls fail, and one that always reaches the server.
    private let here: Cache
    private let there: Cache

    private var last = 0
    /// Below these nothing may be read any more by this process, and by who asks the server.
    private var hereFloor: [String: Int] = [:]
    private var serverFloor: [String: Int] = [:]

    private static let keys = ["users:1", "users:2", "model_inference:k"]
    private static let nearTTL = Duration.seconds(5)

    init() {
        let server = EmbeddedStore(time: time)
        line = FaultyStore(server)
        failover = Failover(
            server: line, local: EmbeddedStore(time: time),
            configuration: .init(thresholds: .init(failures: 5, successes: 1)), time: time)
        let configuration = CacheConfiguration(near: .init(ttl: Self.nearTTL))
        here = Cache(failover: failover, configuration: configuration)
        there = Cache(
            failover: Failover(server: server, local: EmbeddedStore(time: time), time: time), configuration: configuration)
    }

    /// Both sides have copies of older values when the change is made; each looks before and after its near copies have ended.
    mutating func play(_ change: Change, _ place: String) async throws {
        let values = newValues(Self.keys)
        try await there.setMany(values)
        // Only when its near copies have ended does the other process have to know.
        time.advance(by: Self.nearTTL)
        serverFloor.merge(values) { $1 }
        hereFloor.merge(values) { $1 }
        try await look(place)
        try await make(change)
        if here.pendingChanges == 0 { serverFloor = hereFloor }
        try await check(here, hereFloor, "\(place), at once")
        // The call before this one has told the server what the failed one had left.
        if here.pendingChanges == 0 { serverFloor = hereFloor }
        time.advance(by: Self.nearTTL)
        try await look(place)
    }

    /// All is filled, then changed, then the server goes away; answers how many calls it was sent until then.
    mutating func playFill(until change: Change, _ place: String) async throws -> Int {
        for key in Self.keys {
            let value = newValue()
            #expect(try await here.getOrSet(key) { value }.value == value)
        }
        try await make(change)
        let calls = line.calls
        line.fail(with: StoreError(.connectionFailed))
        await failover.start()
        // Some of these end what is near, and some find it.
        for _ in 0..<2 {
            try await check(here, hereFloor, "\(place), by itself")
            time.advance(by: Self.nearTTL)
        }
        return calls
    }

    /// One more call, and the server has heard of everything.
    mutating func end(_ place: String) async throws {
        line.recover()
        _ = try await here.exists("users:1")
        #expect(here.pendingChanges == 0 && failover.outbox.isEmpty && failover.localSince == nil, "\(place)")
        serverFloor = hereFloor
        time.advance(by: Self.nearTTL)
        try await look("\(place), in the end")
    }

    private mutating func make(_ change: Change) async throws {
        let model = "model_inference:k"
        switch change {
        case .set:
            let value = newValue()
            try await here.set("users:1", value)
            hereFloor["users:1"] = value
        case .setMany:
            let values = newValues(Self.keys)
            try await here.setMany(values)
            hereFloor.merge(values) { $1 }
        case .delete:
            try await here.delete("users:1")
            forbid(["users:1"])
        case .invalidate:
            try await here.invalidate("users:*")
            forbid(["users:1", "users:2"])
        case .fill:
            let value = newValue()
            let found = try await here.getOrSet("users:1") { value }.value
            #expect(found >= hereFloor["users:1", default: 0])
        case .category:
            try await here.invalidate(category: .modelInference)
            forbid([model])
        case .clear:
            try await here.clear()
            forbid(Self.keys)
        }
    }

    private func look(_ place: String) async throws {
        try await check(here, hereFloor, "\(place), here")
        try await check(there, serverFloor, "\(place), elsewhere")
    }

    private func check(_ cache: Cache, _ floor: [String: Int], _ place: String) async throws {
        let many = try await cache.getMany(Self.keys, as: Int.self)
        for (key, found) in zip(Self.keys, many) {
            let single = try await cache.get(key, as: Int.self)
            for value in [found.value, single.value].compactMap(\.self) {
                #expect(value >= floor[key, default: 0], "\(place): \(key) is \(value)")
            }
        }
    }

    private mutating func newValue() -> Int {
        last += 1
        return last
    }

    private mutating func newValues(_ keys: [String]) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: keys.map { ($0, newValue()) })
    }

    /// Nothing that was written so far may be read any more.
    private mutating func forbid(_ keys: [String]) {
        for key in keys { hereFloor[key] = last + 1 }
    }
}
