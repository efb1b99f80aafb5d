import HTTPTypes
import HoldfastStore
import Hummingbird
import NIOCore
import ServiceLifecycle

/// A subscription as Server-Sent Events: `data: message,<channel>,<payload>`, as Upstash sends them.
///
/// Between messages a comment says every fifteen seconds that the stream is alive; it ends with its client, with the server's graceful
/// shutdown, or with the store. `Upstash-Encoding: base64` makes channels and payloads any bytes; without it a payload of several lines
/// becomes several `data:` lines of one event, so that line ends of any kind (`\r`, `\r\n`) arrive as `\n`: a line of an event cannot hold
/// a carriage return. A message that several patterns match comes once for each of them, and names it. Where messages were missed, the comment `: gap` says so, with their number where it is
/// known: comments are nothing to clients that do not know of them.
struct UpstashStream: Sendable {
    /// Below the usual idle timeouts of proxies.
    static let heartbeat: Duration = .seconds(15)
    /// How many messages wait for a slow client before the oldest go; sooner where they have more than `Subscription.maximumBytes`.
    static let bufferLimit = 65_536

    enum Verb: String, Sendable {
        case channels = "subscribe"
        case patterns = "psubscribe"
    }

    let verb: Verb
    /// As the caller calls them.
    let names: [Bytes]
    let caller: UpstashCaller
    let isEncoded: Bool

    /// Subscribes, and answers with a response that goes on for as long as the subscription does.
    ///
    /// - Throws: where the store cannot subscribe; nothing has been answered then.
    func response(to request: Request, on store: any Store, time: any TimeSource) async throws -> Response {
        let live = try await LiveSubscription.begin(to: try sources(), on: store, time: time)
        var headers: HTTPFields = [.contentType: "text/event-stream", .cacheControl: "no-store"]
        if isEncoded { headers[.upstashEncoding] = "base64" }
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                defer { live.end() }
                try await writer.write(ByteBuffer(bytes: confirmations))
                // A client that has gone ends this by cancellation, so that the store is no longer listened to.
                _ = try? await request.body.consumeWithCancellationOnInboundClose { _ in
                    for await event in live.events { try await writer.write(ByteBuffer(bytes: text(of: event))) }
                }
                try await writer.finish(nil)
            })
    }

    /// Each pattern has a subscription to itself, because a message does not say by which of several it came. Between patterns there
    /// is no order then; within each there is.
    private func sources() throws(ReplyError) -> [LiveSubscription.Source] {
        switch verb {
        case .channels:
            var selectors: [ChannelSelector] = []
            for name in names { selectors.append(try caller.channel(name)) }
            return [
                LiveSubscription.Source(selectors: selectors) { channel, payload in
                    data(["message", shown(caller.ownName(of: channel)), shown(payload)])
                }
            ]
        case .patterns:
            var seen: Set<Bytes> = []
            var sources: [LiveSubscription.Source] = []
            for name in names where seen.insert(name).inserted {
                let source = LiveSubscription.Source(selectors: [try caller.pattern(name)]) { channel, payload in
                    data(["pmessage", shown(name), shown(caller.ownName(of: channel)), shown(payload)])
                }
                sources.append(source)
            }
            return sources
        }
    }

    // MARK: - The text

    private var confirmations: [UInt8] {
        names.enumerated().flatMap { index, name in
            data([Bytes(verb.rawValue), shown(name), Bytes(Int64(index + 1))])
        }
    }

    private func text(of event: Subscription.Event) -> [UInt8] {
        switch event {
        case .gap(let missed): return Array(": gap\(missed.map { " \($0)" } ?? "")\n\n".utf8)
        case .message(_, let text): return Array(text)
        }
    }

    private func shown(_ bytes: Bytes) -> Bytes { isEncoded ? Bytes(Base64.standard.encode(bytes)) : bytes }

    /// One event: its parts with commas between them, each line of them behind `data: `.
    private func data(_ parts: [Bytes]) -> [UInt8] {
        var text = Array("data: ".utf8)
        text.reserveCapacity(parts.reduce(16) { $0 + $1.count })
        for (index, part) in parts.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            var lastWasReturn = false
            for byte in part {
                switch byte {
                // The second half of one line end.
                case UInt8(ascii: "\n") where lastWasReturn: break
                case UInt8(ascii: "\n"), UInt8(ascii: "\r"): text.append(contentsOf: "\ndata: ".utf8)
                default: text.append(byte)
                }
                lastWasReturn = byte == UInt8(ascii: "\r")
            }
        }
        return text + Array("\n\n".utf8)
    }
}

/// Subscriptions of a store as one sequence of text that outlives the call which asked for it: until ``end()``, the server's graceful
/// shutdown, or the loss of the last reference.
final class LiveSubscription: Sendable {
    /// One subscription, and how its messages read.
    struct Source: Sendable {
        let selectors: [ChannelSelector]
        let text: @Sendable (HoldfastStore.Channel, Bytes) -> [UInt8]
    }

    private static let heartbeat = Bytes(": alive\n\n")
    /// The channel of all text: what was published where is in the text.
    private static let line = HoldfastStore.Channel(Bytes())

    /// Its payloads are what the client gets.
    let events: Subscription
    private let task: Task<Void, Never>

    private init(events: Subscription, task: Task<Void, Never>) {
        self.events = events
        self.task = task
    }

    deinit { task.cancel() }

    func end() { task.cancel() }

    static func begin(to sources: [Source], on store: any Store, time: any TimeSource) async throws -> LiveSubscription {
        let (events, inbox) = Subscription.make(whenFull: .dropOldest(limit: UpstashStream.bufferLimit))
        let (beginnings, beginning) = AsyncThrowingStream<Void, any Error>.makeStream()
        let task = Task {
            await withTaskCancellationOrGracefulShutdownHandler {
                await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        while (try? await time.sleep(for: UpstashStream.heartbeat)) != nil { inbox.deliver(heartbeat, on: line) }
                    }
                    for source in sources {
                        group.addTask { try await forward(source, of: store, to: inbox) { beginning.yield() } }
                    }
                    // The first that ends or fails ends the whole: without it the stream would be silent where it should speak.
                    do { _ = try await group.next() } catch { beginning.finish(throwing: error) }
                    group.cancelAll()
                }
            } onCancelOrGracefulShutdown: {
                inbox.finish()
            }
            inbox.finish()
            beginning.finish()
        }
        let live = LiveSubscription(events: events, task: task)
        var begun = beginnings.makeAsyncIterator()
        for _ in sources { guard try await begun.next() != nil else { break } }
        return live
    }

    private static func forward(
        _ source: Source, of store: any Store, to inbox: SubscriptionInbox, _ whenListening: @Sendable () -> Void
    ) async throws {
        try await store.withSubscription(
            to: source.selectors, whenFull: .dropOldest(limit: UpstashStream.bufferLimit)
        ) { events in
            whenListening()
            for await event in events {
                switch event {
                case .message(let channel, let payload): inbox.deliver(Bytes(source.text(channel, payload)), on: line)
                case .gap(let missed): inbox.announceGap(missed: missed)
                }
            }
        }
    }
}
