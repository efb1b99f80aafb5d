import HoldfastStore
import TestServers
import Testing

@testable import HoldfastTesting

/// Random programs of commands, byte for byte as a real Redis answers them, in both protocols. What depends on chance, on the clock
/// or on a table's order is left to the differential tests of the store.
@Suite struct WireDifferentialTests {
    private static let start = Timestamp(milliseconds: 1_700_000_000_000)

    @Test(arguments: ["2", "3"]) func repliesAreRedissOwnBytes(_ version: String) async throws {
        let redis = try await RedisProcess.start()
        defer { redis.stop() }
        let port = redis.port
        try await ServedStore.with { served in
            for seed in UInt64(1)...30 {
                let (ours, theirs) = (try served.connect(), try RawClient(port: port))
                for client in [ours, theirs] {
                    _ = try client("HELLO", version)
                    _ = try client("FLUSHALL")
                }
                let program = ProgramGenerator().program(
                    seed: seed, length: 150, names: Namespace(prefix: "w:"), start: Self.start)
                for step in program {
                    if let fault = try Self.compare(step, ours, theirs) {
                        Issue.record("seed \(seed): \(fault)")
                        return
                    }
                }
            }
        }
    }

    /// What they disagree on.
    private static func compare(_ step: Step, _ ours: RawClient, _ theirs: RawClient) throws -> String? {
        switch step {
        case .command(let command):
            guard !isExcluded(command) else { return nil }
            return try compare([command], ours, theirs)
        case .transaction(let commands):
            guard !commands.contains(where: isExcluded) else { return nil }
            let order = commands.map { CommandTraits.order($0[0].lossyString.uppercased()) }
            // The answer to EXEC is compared as a whole; what allows for differences is compared by the commands alone.
            guard order.allSatisfy({ $0 == .exact }),
                !commands.contains(where: { CommandTraits.judgesInAnotherOrder($0[0].lossyString.uppercased()) })
            else { return nil }
            return try compare([["MULTI"]] + commands + [["EXEC"]], ours, theirs)
        case .procedure, .advance: return nil
        }
    }

    private static func isExcluded(_ command: [Bytes]) -> Bool {
        let name = command[0].lossyString.uppercased()
        return CommandTraits.isRandom(name) || CommandTraits.isScan(name) || CommandTraits.dependsOnTime(command)
            || ["TIME", "INFO"].contains(name)
    }

    private static func compare(_ commands: [[Bytes]], _ ours: RawClient, _ theirs: RawClient) throws -> String? {
        for command in commands {
            ours.send(command)
            theirs.send(command)
            let (left, right) = (try ours.reply() ?? [], try theirs.reply() ?? [])
            let name = command[0].lossyString.uppercased()
            guard !agree(left, right, name) else { continue }
            let texts = [left, right].map { String(decoding: $0, as: UTF8.self).debugDescription }
            return "\(Step.line(command))\n  ours:  \(texts[0])\n  redis: \(texts[1])"
        }
        return nil
    }

    private static func agree(_ ours: [UInt8], _ theirs: [UInt8], _ name: String) -> Bool {
        if ours == theirs { return true }
        if CommandTraits.judgesInAnotherOrder(name), ours.starts(with: Array("-ERR".utf8)) {
            let isEmpty = ["*0", "$-1", "*-1", ":0", "_", "%0", "~0"].contains(
                String(decoding: theirs.dropLast(2), as: UTF8.self))
            return theirs.first == UInt8(ascii: "-") || isEmpty
        }
        switch CommandTraits.order(name) {
        case .exact: return false
        case .elements: return RawReply.sorted(ours, by: 1) == RawReply.sorted(theirs, by: 1)
        case .pairs: return RawReply.sorted(ours, by: 2) == RawReply.sorted(theirs, by: 2)
        }
    }
}

extension RawReply {
    /// The header of an aggregate and its elements, in groups, in the order of their bytes.
    static func sorted(_ reply: [UInt8], by size: Int) -> [[UInt8]] {
        guard let headerEnd = reply.firstIndex(of: 10), "*%~".utf8.contains(reply[0]) else { return [reply] }
        var rest = Array(reply[(headerEnd + 1)...])
        var elements: [[UInt8]] = []
        while let end = end(of: rest) {
            elements.append(Array(rest[..<end]))
            rest.removeFirst(end)
        }
        let groups = stride(from: 0, to: elements.count, by: size).map {
            elements[$0..<min($0 + size, elements.count)].flatMap(\.self)
        }
        return [Array(reply[...headerEnd])] + groups.sorted { $0.lexicographicallyPrecedes($1) }
    }
}
