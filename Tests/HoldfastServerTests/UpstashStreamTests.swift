import Holdfast
import HoldfastStore
import HoldfastUpstash
import Testing

@testable import HoldfastServer

/// The events of `/upstash/subscribe` and `/upstash/psubscribe`, byte for byte.
@Suite(.timeLimit(.minutes(2))) struct UpstashStreamTests {
    @Test func aMessageNamesItsChannel() async throws {
        let events = try await events(
            "/subscribe/a/b%2Cc", confirmations: 2, publishing: [("a", "1,2"), ("b,c", ""), ("a", "\u{e9}")], until: 5)
        #expect(
            events == [
                "data: subscribe,a,1", "data: subscribe,b,c,2", "data: message,a,1,2", "data: message,b,c,",
                "data: message,a,\u{e9}",
            ])
    }

    @Test func aMessageNamesThePatternItCameBy() async throws {
        let events = try await events(
            "/psubscribe/a*/ab*/a*", confirmations: 3, publishing: [("abc", "x"), ("b", "unheard"), ("ac", "y")], until: 6)
        #expect(events.prefix(3) == ["data: psubscribe,a*,1", "data: psubscribe,ab*,2", "data: psubscribe,a*,3"])
        // Between patterns there is no order.
        #expect(
            events.dropFirst(3).sorted() == ["data: pmessage,a*,abc,x", "data: pmessage,a*,ac,y", "data: pmessage,ab*,abc,x"])
        #expect(events.filter { $0.hasPrefix("data: pmessage,a*") } == ["data: pmessage,a*,abc,x", "data: pmessage,a*,ac,y"])
    }

    @Test func everyLineEndIsAnEventsLineEnd() async throws {
        let events = try await events(
            "/subscribe/c", confirmations: 1, publishing: [("c", "a\rb\r\nc\n\nd\n\r"), ("c", "next")], until: 3)
        #expect(
            events == [
                "data: subscribe,c,1", "data: message,c,a\ndata: b\ndata: c\ndata: \ndata: d\ndata: \ndata: ",
                "data: message,c,next",
            ])
    }

    @Test func base64CarriesAnyBytes() async throws {
        let events = try await events(
            "/psubscribe/c*", header: "Upstash-Encoding: base64\r\n", confirmations: 1, publishing: [("c,", "\r\n,")], until: 2)
        #expect(events == ["data: psubscribe,Yyo=,1", "data: pmessage,Yyo=,Yyw=,DQos"])
    }

    /// Not in numbers alone: 65,536 messages of a megabyte would fill any memory.
    @Test func whatASlowClientMissesForItsSizeIsCounted() async throws {
        let (store, channel) = (EmbeddedStore(), Channel("c"))
        let source = LiveSubscription.Source(selectors: [.channel(channel)]) { _, payload in Array(payload) }
        let live = try await LiveSubscription.begin(to: [source], on: store, time: .system)
        let payload = Bytes([UInt8](repeating: 1, count: Subscription.maximumBytes / 4))
        // More than the store's own buffer and the stream's hold together.
        let count = 12
        for _ in 0..<count { #expect(try await store(.publish(channel, payload)) == 1) }
        var (received, missed) = (0, 0)
        for await event in live.events {
            switch event {
            case .gap(let number): missed += number ?? 0
            case .message(_, let text): if text.count == payload.count { received += 1 }
            }
            if received + missed == count { break }
        }
        #expect(missed > 0 && received + missed == count)
        live.end()
    }

    @Test func ourClientIsMorePatientThanOurHeartbeatIsSlow() {
        #expect(UpstashConfiguration(url: "https://h", token: "t").streamIdleLimit >= UpstashStream.heartbeat * 3)
    }

    // MARK: - What is heard

    /// Subscribes, publishes once that is confirmed, and gives the first events but for comments.
    private func events(
        _ path: String, header: String = "", confirmations: Int, publishing messages: [(channel: String, payload: String)],
        until count: Int
    ) async throws -> [String] {
        var events: [String] = []
        try await LiveServer.serving { port async throws in
            let authorization = "Host: h\r\nAuthorization: Bearer \(LiveServer.key)\r\n"
            let stream = try await RawConnection.open(port: port)
            await stream.send("GET /upstash\(path) HTTP/1.1\r\n\(authorization)\(header)\r\n")
            try await stream.wait { Self.events(in: $0).count >= confirmations }
            for (channel, payload) in messages {
                let body = JSONValue.array([.string("PUBLISH"), .string(channel), .string(payload)]).answerBytes
                let publisher = try await RawConnection.open(port: port)
                await publisher.send(
                    "POST /upstash HTTP/1.1\r\n\(authorization)Content-Length: \(body.count)\r\n\r\n\(body.lossyString)")
                try await publisher.wait { $0.contains("result") }
                await publisher.close()
            }
            try await stream.wait { Self.events(in: $0).count >= count }
            events = Self.events(in: stream.received)
            await stream.close()
        }
        return events
    }

    /// The events in a chunked answer, as far as it has come.
    private static func events(in answer: String) -> [String] {
        var rest = Array(answer.utf8)[...]
        guard let head = rest.firstRange(of: Array("\r\n\r\n".utf8)) else { return [] }
        rest = rest[head.upperBound...]
        var body: [UInt8] = []
        while let end = rest.firstRange(of: Array("\r\n".utf8)),
            let size = Int(String(decoding: rest[..<end.lowerBound], as: UTF8.self), radix: 16),
            rest[end.upperBound...].count >= size
        {
            body += rest[end.upperBound...].prefix(size)
            rest = rest[end.upperBound...].dropFirst(size + 2)
        }
        var events: [String] = []
        var text = body[...]
        while let end = text.firstRange(of: Array("\n\n".utf8)) {
            let event = String(decoding: text[..<end.lowerBound], as: UTF8.self)
            if !event.hasPrefix(":") { events.append(event) }
            text = text[end.upperBound...]
        }
        return events
    }
}
