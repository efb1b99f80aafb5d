import HTTPTypes
import Holdfast
import HoldfastStore
import TestServers
import Testing

@testable import HoldfastServer

/// JSON that callers keep comes back digit for digit.
@Suite struct NumberRouteTests {
    /// Random numbers by JSON's grammar, all finite; the same ones each time.
    private func numbers(_ count: Int) -> [String] {
        var seed: UInt64 = 0x9E37_79B9_7F4A_7C15
        func next(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % bound
        }
        func digits(_ most: Int) -> String { (0...next(most)).map { _ in String(next(10)) }.joined() }
        return (0..<count).map { _ in
            var text = next(2) == 0 ? "-" : ""
            text += next(4) == 0 ? "0" : "\(1 + next(9))" + digits(25)
            if next(2) == 0 { text += "." + digits(25) }
            if next(2) == 0 { text += ["e", "E", "e+", "E-"][next(4)] + digits(1) }
            return text
        }
    }

    private func server(_ backend: Backend) async throws -> ServerUnderTest {
        try ServerUnderTest(
            state: AgentState(failover: Failover(local: try await backend.store()), namespace: backend.namespace()))
    }

    @Test(arguments: Backend.available)
    func numbersInCacheEntriesKeepEveryDigit(_ backend: Backend) async throws {
        let server = try await server(backend)
        let value = "[" + numbers(400).joined(separator: ",") + "]"
        let path = "/api/v1/cache/entries/default/numbers"
        #expect(try await server.send(.put, path, text: #"{"value":\#(value)}"#).status == 200)
        // From the store, and from the near cache.
        for _ in 0..<2 { #expect(try await server.send(.get, path).text.contains(#""value":\#(value)"#)) }
        _ = try await server.send(.post, "/api/v1/cache/batch/set", text: #"{"entries":{"many":\#(value)}}"#)
        let batch = try await server.send(.post, "/api/v1/cache/batch/get", ["keys": ["many"]])
        #expect(batch.text.contains(#""many":\#(value)"#))
        _ = try await server.send(.post, "/api/v1/cache/warm/outbreak_data", text: #"{"entries":{"warm":\#(value)}}"#)
        let warm = try await server.send(.get, "/api/v1/cache/entries/default/outbreak_data:warm")
        #expect(warm.text.contains(#""value":\#(value)"#))
    }

    @Test(arguments: Backend.available)
    func numbersInSessionsKeepEveryDigit(_ backend: Backend) async throws {
        let server = try await server(backend)
        let value = "[" + numbers(200).joined(separator: ",") + "]"
        let created = try await server.send(
            .post, "/api/v1/sessions", text: #"{"user_id":"u","kind":"conversation","data":{"n":\#(value)}}"#)
        let id = try #require(created.json["id"]?.string)
        #expect(created.text.contains(#""n":\#(value)"#))
        let set = try await server.send(
            .patch, "/api/v1/sessions/\(id)", text: #"{"set":{"m":\#(value)},"expect":{"n":\#(value)}}"#)
        #expect(set.status == 200 && set.text.contains(#""m":\#(value)"#))
        let appended = try await server.send(
            .post, "/api/v1/sessions/\(id)/messages", text: #"{"messages":[{"role":"user","content":\#(value)}]}"#)
        #expect(appended.text.contains(#""content":\#(value)"#))
        #expect(try await server.send(.get, "/api/v1/sessions/\(id)").text.contains(#""n":\#(value)"#))
        let other = try await server.send(.patch, "/api/v1/sessions/\(id)", text: #"{"set":{"a":1},"expect":{"n":[1.0]}}"#)
        #expect(other.status == 409)
    }
}
