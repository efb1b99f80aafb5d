import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

@Suite struct NearKeyTests {
    private func hash(_ parts: [ArraySlice<UInt8>]) -> Int {
        var hasher = ByteHasher()
        for part in parts { part.withUnsafeBytes { hasher.combine($0) } }
        return hasher.hash(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    @Test func whereAPartEndsDoesNotShowInTheHash() {
        let text = Array("a name of more than four words of eight bytes".utf8)
        for end in 0...text.count {
            let whole = hash([text[..<end]])
            for first in 0...end {
                for second in first...end { #expect(hash([text[..<first], text[first..<second], text[second..<end]]) == whole) }
            }
        }
    }

    @Test func everyBitAndEveryByteCounts() {
        for count in 0..<40 {
            var text = [UInt8](repeating: 0, count: count)
            var hashes = [hash([text[...]]), hash([(text + [0])[...]])]
            for bit in 0..<(count * 8) {
                text[bit / 8] ^= 1 << (bit % 8)
                hashes.append(hash([text[...]]))
                text[bit / 8] ^= 1 << (bit % 8)
            }
            #expect(Set(hashes).count == hashes.count)
        }
    }

    @Test func anIndexFindsWhatIsThereAndNothingElse() {
        var random = RandomSource(seed: 7)
        var index = PlaceIndex()
        // By place. Few different hashes, so that chains are long.
        var model: [Int: Int] = [:]
        for _ in 0..<5_000 {
            let place = Int.random(in: 0..<200, using: &random)
            if model.removeValue(forKey: place) != nil {
                index.remove(place)
            } else {
                model[place] = Int.random(in: 0..<60, using: &random) * 1024
                index.insert(place, hash: model[place]!)
            }
            #expect(index.count == model.count)
        }
        for place in 0..<200 {
            for hash in 0..<60 {
                let found = index.find(hash * 1024) { $0 == place }
                #expect(found == (model[place] == hash * 1024 ? place : nil))
            }
        }
    }

    @Test func namesAreToldApartByTheirBytes() throws {
        func place(_ workspace: String, tenant: String? = nil) -> CachePlace {
            CachePlace(namespace: Namespace(tenant: tenant), workspace: workspace)
        }
        // Two ways to write é, which Swift's own equality takes for one.
        let (one, other) = ("caf\u{E9}", "cafe\u{301}")
        #expect(one == other)
        let spaces = [place("w"), place("w", tenant: "t"), place(one), place(other), place("w:a")].map(NearSpace.init)
        let names = ["", "a", "a:b", one, other, "a\u{0}b", String(repeating: "long ", count: 200)]
        for (i, space) in spaces.enumerated() {
            for (j, name) in names.enumerated() {
                let key = NearKey(space: space, name: name)
                for (k, otherSpace) in spaces.enumerated() {
                    #expect(key.name(in: otherSpace).map { $0.hasSameBytes(as: name) } ?? false == (i == k))
                    for (l, otherName) in names.enumerated() {
                        let isSame = i == k && j == l
                        #expect((key == NearKey(space: otherSpace, name: otherName)) == isSame)
                        let head = NearHead(space: otherSpace, prefix: "")
                        #expect(otherName.withBytes { key.isMade(of: head, $0) } == isSame)
                        if isSame { #expect(otherName.withBytes { head.hash($0) } == key.hash) }
                    }
                }
            }
        }
        let category = NearHead(space: spaces[0], prefix: "a:")
        #expect(category.key("b") == NearKey(space: spaces[0], name: "a:b"))
        #expect(category.key("b").hash == NearKey(space: spaces[0], name: "a:b").hash)
    }
}
