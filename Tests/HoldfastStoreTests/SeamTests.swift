import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct SeamTests {
    let names = Namespace(prefix: "seam:")

    @Test func callSitesReadAsTheyShould() async throws {
        let store: any Store = EmbeddedStore()
        let (x, y) = (names.key("x"), names.key("y"))
        try await store(.set(x, "one"))
        let value = try await store(.get(x))
        #expect(value == "one")
        let (a, n) = try await store.pipeline(.get(x), .incr(y))
        #expect(a == "one" && n == 1)
        let (b, m) = try await store.transaction(.getdel(x), .incrby(y, 4))
        #expect(b == "one" && m == 5)
        #expect(try await store(.get(x)) == nil)
    }

    @Test func insertedIdentifiersCannotReachOutsideTheirPlace() {
        let id = "a:b{c}%\n"
        #expect(names.key("session:\(id)").bytes == "seam:session:a%3Ab%7Bc%7D%25%0A")
        #expect(KeyPattern.decode(Bytes("a%3Ab%7Bc%7D%25%0A")) == id)
        #expect(names.scoped(to: "x:y").key("session:\("z")").bytes == "seam:t:x%3Ay:session:z")
        #expect(names.key("lock:\("r")").companion("fence").bytes == "{seam:lock:r}:fence")
    }
}
