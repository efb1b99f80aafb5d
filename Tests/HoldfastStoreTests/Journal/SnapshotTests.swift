import HoldfastTesting
import Testing

@testable import HoldfastStore

/// A picture of a key space that goes on changing is the picture of the moment at which it was begun.
@Suite struct SnapshotTests {
    @Test(arguments: 0..<40) func changesMeanwhileAreNotInThePicture(_ seed: UInt64) throws {
        var sampler = Sampler(seed: seed)
        var keyspace = Keyspace(limits: Keyspace.Limits(policy: .allKeysRandom), seed: seed)
        keyspace.advance(to: Timestamp(milliseconds: 1_000_000))
        for round in 0..<6 {
            for _ in 0..<30 { _ = keyspace.execute(sampler.operation()) }
            keyspace.removeExpired(limit: .max)
            let before = Contents(keyspace)
            keyspace.beginSnapshot()
            var copy = Keyspace(seed: 1)
            while let items = keyspace.nextSnapshotPart(slots: sampler.number(1...3)) {
                for item in items { try item.restore(in: &copy) }
                for _ in 0..<sampler.number(0...4) { _ = keyspace.execute(sampler.operation()) }
                if sampler.chance(0.05) { _ = keyspace.execute(.server(.flushdb)) }
                if sampler.chance(0.2) { keyspace.advance(to: Timestamp(milliseconds: keyspace.now.milliseconds + 5000)) }
            }
            #expect(Contents(copy) == before, "round \(round)")
            keyspace.checkInvariants()
        }
    }

    @Test func aPictureThatIsGivenUpLeavesNothingBehind() {
        var keyspace = Keyspace(seed: 1)
        for key in 0..<100 { _ = keyspace.execute(.strings(.set(Key(raw: Bytes(Int64(key))), "v", SetOptions()))) }
        keyspace.beginSnapshot()
        _ = keyspace.nextSnapshotPart(slots: 10)
        keyspace.endSnapshot()
        #expect(keyspace.nextSnapshotPart(slots: 10) == nil)
        keyspace.beginSnapshot()
        var count = 0
        while let items = keyspace.nextSnapshotPart(slots: 7) { count += items.count }
        #expect(count == 100)
    }

    /// Collections are written in commands of 64 elements, as Redis does.
    @Test func largeCollectionsAreWrittenInParts() throws {
        var keyspace = Keyspace(seed: 1)
        let elements = (0..<130).map { Bytes(Int64($0)) }
        try keyspace.rpush(Key(raw: "l"), elements)
        keyspace.expire(Key(raw: "l"), at: Timestamp(milliseconds: 5000))
        keyspace.beginSnapshot()
        var writer = CommandWriter()
        while let items = keyspace.nextSnapshotPart(slots: 10) { for item in items { item.write(to: &writer) } }
        let text = String(decoding: writer.buffer, as: UTF8.self)
        #expect(text.ranges(of: "RPUSH").count == 3)
        #expect(text.hasSuffix(resp("PEXPIREAT l 5000")))
    }
}

extension SnapshotItem {
    /// Carries out what ``write(to:)`` writes.
    fileprivate func restore(in keyspace: inout Keyspace) throws {
        var writer = CommandWriter()
        write(to: &writer)
        let folder = SimulatedFolder()
        folder.put(writer.buffer, as: "commands")
        var reader = JournalReader(try folder.open("commands", .existing))
        while case .command(let arguments, _) = try reader.next() {
            let reply = keyspace.execute(try CommandTable.shared.operation(arguments))
            if case .error(let error) = reply { Issue.record("\(arguments): \(error)") }
        }
    }
}
