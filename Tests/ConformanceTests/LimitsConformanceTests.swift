import Foundation
import Holdfast
import HoldfastRedis
import HoldfastStore
import HoldfastTesting
import TestServers
import Testing

@Suite struct LimitsConformanceTests {
    /// A window that does not end within the next minute, by the server's clock.
    private func window(_ store: any Store) async throws -> Int {
        let time = try #require(try await store(.raw("TIME")).elements?.first?.integer)
        return try #require([3600, 3660, 3720].first { Int(time) % $0 < $0 - 60 })
    }

    @Test func twoHundredCallersOfFourProcessesGetExactlyFifty() async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        let window = try await window(store)
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path
        let callers = try (1...4).map { number in
            try ChildProcess(
                [folder + "/limit-caller", server.socketPath, "limits:", "4", "50", "\(window)"],
                standardOutput: server.folder + "/caller\(number)", standardError: server.folder + "/caller\(number)")
        }
        defer { for caller in callers { caller.signal(SIGKILL) } }
        try await eventually(within: .seconds(120), "the callers end") { !callers.contains(where: \.isRunning) }
        let logs = (1...4).map { (try? String(contentsOfFile: server.folder + "/caller\($0)", encoding: .utf8)) ?? "" }
        #expect(callers.map { $0.wait() } == [0, 0, 0, 0], "\(logs)")
        for algorithm in RateLimit.Algorithm.allCases {
            let admitted = try await store(.raw("HGET", "limits:admitted", Bytes(algorithm.rawValue))).integer
            #expect(admitted == 50, "\(algorithm.rawValue)")
        }
        await store.shutdown()
    }

    @Test(arguments: Backend.available, RateLimit.Algorithm.allCases)
    func aLimitHoldsAndADeniedCallChangesNothing(_ backend: Backend, _ algorithm: RateLimit.Algorithm) async throws {
        let store = try await backend.store()
        let names = backend.namespace()
        let limiter = RateLimiter(
            Failover(local: store), namespace: names, configuration: RateLimiter.Configuration(denialMemory: .zero))
        let rules = [
            RateLimit("ten", algorithm, limit: 10, per: .seconds(try await window(store))),
            RateLimit("many", .fixedWindow, limit: 1000, per: .seconds(try await window(store))),
        ]
        for call in 1...5 {
            let decision = try await limiter.check(rules, for: .user("ann"), cost: 2)
            #expect(decision.isAllowed && decision.rules.map(\.remaining) == [10 - 2 * call, 1000 - 2 * call])
        }
        let before = try await state(store, names)
        let denied = try await limiter.check(rules, for: .user("ann"))
        #expect(!denied.isAllowed && denied.rules.map(\.hasRoom) == [false, true] && (denied.retryAfter ?? .zero) > .zero)
        #expect(try await state(store, names) == before)
        #expect(before.count == 2)

        try await limiter.refund([RateLimitCharge(rules[0], for: .user("ann"), cost: 3)])
        #expect(try await limiter.peek(rules.map { RateLimitCharge($0, for: .user("ann")) }).rules.map(\.remaining) == [3, 990])
        try await limiter.record([RateLimitCharge(rules[0], for: .user("ann"), cost: 100)])
        #expect(try await !limiter.check(rules, for: .user("ann")).isAllowed)
        try await limiter.reset(rules.map { RateLimitCharge($0, for: .user("ann")) })
        #expect(try await state(store, names).isEmpty)
    }

    /// Servers' clocks do go back: by NTP, or when another node takes over.
    @Test(arguments: RateLimit.Algorithm.allCases)
    func aClockThatGoesBackAdmitsNothingTwice(_ algorithm: RateLimit.Algorithm) async throws {
        let server = try await RedisProcess.start()
        defer { server.stop() }
        let store = try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: server.socketPath)))
        let key = Namespace().key("rate:\(algorithm.rawValue)")
        let time = try #require(try await store(.raw("TIME")).elements?.first?.integer)
        // In the future, because the server removes by its own clock; just behind a boundary, so that going back crosses it.
        let moment = (time / 3600 + 2) * 3_600_000 + 5_000
        func check(at moment: Int64) async throws -> Int64? {
            let numbers: [Bytes] =
                switch algorithm {
                case .fixedWindow, .slidingLog: ["3600000", "1", "1"]
                case .slidingCounter: ["3600000", "1", "3600000"]
                case .tokenBucket, .gcra: ["360000", "1", "3600000"]
                }
            return try await store.run(
                Procedure(
                    RateLimitProcedures.check, keys: [key], arguments: [Bytes(algorithm.rawValue), "1", "10"] + numbers,
                    now: Timestamp(milliseconds: moment)
                ) { $0.elements?[1].integer })
        }
        for _ in 0..<10 { #expect(try await check(at: moment) == 0) }
        for back in [1, 4_000, 6_000, 1_800_000] as [Int64] {
            #expect(try await check(at: moment - back) ?? 0 > 0, "\(back) ms back")
        }
        await store.shutdown()
    }

    private func state(_ store: any Store, _ names: Namespace) async throws -> [String] {
        var lines: [String] = []
        var cursor = Bytes("0")
        repeat {
            let page = try #require(
                try await store(.raw("SCAN", cursor, "MATCH", names.glob(startingWith: "rate:"), "COUNT", "1000")).elements)
            cursor = try #require(page[0].bytes)
            for key in page[1].list ?? [] {
                let isText = try await store(.raw("TYPE", key)).bytes == "string"
                let value = try await store(.raw(isText ? ["GET", key] : ["ZRANGE", key, "0", "-1"]))
                lines.append("\(key) \(value) \(try await store(.raw("PEXPIRETIME", key)))")
            }
        } while cursor != "0"
        return lines.sorted()
    }
}
