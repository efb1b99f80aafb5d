/// Finds the place of a word in a fixed list, whatever its case, without making a string of it: how a command's name finds its row.
///
/// A hash table with linear probing, at most half full, over FNV-1a of the folded bytes.
package struct NameIndex: Sendable {
    private let names: [[UInt8]]
    /// The place of a name, or -1.
    private let table: [Int16]

    /// The first of several equal names counts.
    package init(_ names: [String]) {
        self.names = names.map { $0.utf8.map(Self.fold) }
        var size = 4
        while size < 2 * names.count { size *= 2 }
        var table = [Int16](repeating: -1, count: size)
        for (place, name) in self.names.enumerated() {
            var slot = name.withUnsafeBufferPointer { Self.hash($0) } & (size - 1)
            while table[slot] >= 0, self.names[Int(table[slot])] != name { slot = (slot + 1) & (size - 1) }
            if table[slot] < 0 { table[slot] = Int16(place) }
        }
        self.table = table
    }

    package subscript(_ word: Bytes) -> Int? {
        word.storage.withUnsafeBufferPointer { word in
            var slot = Self.hash(word) & (table.count - 1)
            while table[slot] >= 0 {
                if Self.matches(names[Int(table[slot])], word) { return Int(table[slot]) }
                slot = (slot + 1) & (table.count - 1)
            }
            return nil
        }
    }

    private static func fold(_ byte: UInt8) -> UInt8 { byte &- UInt8(ascii: "a") < 26 ? byte & ~0x20 : byte }

    private static func hash(_ word: UnsafeBufferPointer<UInt8>) -> Int {
        var hash: UInt32 = 2_166_136_261
        for byte in word { hash = (hash ^ UInt32(fold(byte))) &* 16_777_619 }
        return Int(hash)
    }

    private static func matches(_ name: [UInt8], _ word: UnsafeBufferPointer<UInt8>) -> Bool {
        guard name.count == word.count else { return false }
        for index in 0..<word.count where name[index] != fold(word[index]) { return false }
        return true
    }
}
