import Testing

@testable import HoldfastStore

/// The containers under the key space, against naive models.
@Suite struct ContainerTests {
    @Test(arguments: 0..<4) func aSortedListIsASortedArray(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        var list = SortedList<Int>()
        var model: [Int] = []
        // Grows over several chunks, then shrinks.
        for step in 0..<8000 {
            let element = Int.random(in: 0..<5000, using: &random)
            let place = model.firstIndex { $0 >= element } ?? model.count
            let isThere = place < model.count && model[place] == element
            if step < 5000 ? Int.random(in: 0..<3, using: &random) > 0 : Int.random(in: 0..<5, using: &random) == 0 {
                if !isThere {
                    list.insert(element)
                    model.insert(element, at: place)
                }
            } else {
                #expect(list.remove(element) == isThere)
                if isThere { model.remove(at: place) }
            }
            #expect(list.count == model.count && list.first == model.first && list.last == model.last)
            guard step.isMultiple(of: 50), !model.isEmpty else { continue }
            #expect(list.rank { $0 >= element } == model.count { $0 < element })
            let low = Int.random(in: 0..<model.count, using: &random)
            let high = Int.random(in: low..<model.count, using: &random)
            #expect(list[low] == model[low])
            #expect(list[low..<high] == Array(model[low..<high]))
            #expect(list[0..<model.count] == model)
        }
        while let first = list.popFirst() { #expect(first == model.removeFirst()) }
        #expect(model.isEmpty && list.isEmpty && list.rank { _ in true } == 0)
    }

    @Test(arguments: 0..<4) func aSlotTableIsADictionaryWhoseEntriesKeepTheirPlace(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        var table = SlotTable<Int, Int>()
        var model: [Int: Int] = [:]
        var places: [Int: Int] = [:]
        for step in 0..<5000 {
            let key = Int.random(in: 0..<200, using: &random)
            if Int.random(in: 0..<3, using: &random) > 0 {
                #expect(table.set(step, for: key) == model.updateValue(step, forKey: key))
                let slot = table.slot(of: key)
                if let known = places[key] { #expect(slot == known) }
                places[key] = slot
            } else {
                #expect(table.remove(key) == model.removeValue(forKey: key))
                places[key] = nil
            }
            #expect(table.count == model.count)
            #expect(table.value(for: key) == model[key])
            if let slot = table.slot(of: key) { #expect(table.key(at: slot) == key && table[slot] == model[key]) }
        }
        #expect(Dictionary(uniqueKeysWithValues: table.map { ($0.key, $0.value) }) == model)
        var scanned: [Int: Int] = [:]
        var cursor: UInt64 = 0
        repeat { cursor = table.scan(from: cursor, count: 7) { scanned[$0] = $1 } } while cursor != 0
        #expect(scanned == model)
    }

    @Test func drawsAreDifferentUnlessAskedForWithRepetition() {
        var random = RandomSource(seed: 5)
        var table = SlotTable<Int, Void>()
        for key in 0..<100 { table.insert((), for: key) }
        for key in 0..<100 where !key.isMultiple(of: 10) { table.remove(key) }
        for count: Int64 in [1, 2, 5, 9, 10, 50] {
            let drawn = table.draw(count, using: &random).map(\.key)
            #expect(Set(drawn).count == drawn.count && drawn.count == min(10, Int(count)))
        }
        #expect(table.draw(-50, using: &random).count == 50)
        #expect(table.draw(0, using: &random).isEmpty)
        // Everyone's turn comes.
        var seen: Set<Int> = []
        for _ in 0..<500 { seen.formUnion(table.draw(1, using: &random).map(\.key)) }
        #expect(seen == Set(stride(from: 0, to: 100, by: 10)))
    }
}
