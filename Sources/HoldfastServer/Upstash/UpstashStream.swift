import HTTPTypes
import HoldfastStore
import Hummingbird
import NIOCore
import ServiceLifecycle

/// A subscription as Server-Sent Events: `data: message,<channel>,<payload>`, as Upstash sends them.
///
/// Between messages a comment says every fifteen seconds that the stream is alive; it ends with its client, with the server's graceful
/// shutdown, or with the store. `Upstash-Encoding: base64` makes channels and payloads any bytes; without it a payload of several lines
/// becomes several `data:` lines of one event. Where messages were missed, the comment `: gap` says so, with their number where it is
/// known: comments are nothing to clients that do not know of them.
struct UpstashStream: Sendable {
    /// Below the usual idle timeouts of proxies.
    static let heartbeat: Duration = .seconds(15)
    /// How many messages wait for a slow client before the oldest go.
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
        let selectors = try names.map { name throws(ReplyError) in
            verb == .channels ? try caller.channel(name) : try caller.pattern(name)
        }
        let live = try await LiveSubscription.begin(to: selectors, on: store, time: time)
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

    // MARK: - The text

    private var confirmations: [UInt8] {
        names.enumerated().flatMap { index, name in
            data([Bytes(verb.rawValue), shown(name), Bytes(Int64(index + 1))])
        }
    }

    private func text(of event: Subscription.Event) -> [UInt8] {
        switch event {
        case .gap(let missed): return Array(": gap\(missed.map { " \($0)" } ?? "")\n\n".utf8)
        case .message(LiveSubscription.pulse, _): return Array(": alive\n\n".utf8)
        case .message(let channel, let payload):
            let name = caller.ownName(of: channel)
            guard verb == .patterns else { return data(["message", shown(name), shown(payload)]) }
            let pattern = names.first { Glob($0).matches(name) } ?? names[0]
            return data(["pmessage", shown(pattern), shown(name), shown(payload)])
        }
    }

    private func shown(_ bytes: Bytes) -> Bytes { isEncoded ? Bytes(Base64.standard.encode(bytes)) : bytes }

    /// One event: its parts with commas between them, each line of them behind `data: `.
    private func data(_ parts: [Bytes]) -> [UInt8] {
        var text = Array("data: ".utf8)
        text.reserveCapacity(parts.reduce(16) { $0 + $1.count })
        for (index, part) in parts.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            for byte in part {
                // A carriage return would end the line too.
                if byte == UInt8(ascii: "\n") {
                    text.append(contentsOf: "\ndata: ".utf8)
                } else if byte != UInt8(ascii: "\r") {
                    text.append(byte)
                }
            }
        }
        return text + Array("\n\n".utf8)
    }
}

/// A store's subscription that outlives the call which asked for it: until ``end()``, the server's graceful shutdown, or the loss of
/// the last reference.
final class LiveSubscription: Sendable {
    /// The channel of heartbeats: no caller's channel is empty, because all have a prefix.
    static let pulse = Channel(Bytes())

    let events: Subscription
    private let task: Task<Void, Never>

    private init(events: Subscription, task: Task<Void, Never>) {
        self.events = events
        self.task = task
    }

    deinit { task.cancel() }

    func end() { task.cancel() }

    static func begin(
        to selectors: [ChannelSelector], on store: any Store, time: any TimeSource
    ) async throws -> LiveSubscription {
        let (events, inbox) = Subscription.make(whenFull: .dropOldest(limit: UpstashStream.bufferLimit))
        let (began, beginning) = AsyncThrowingStream<Void, any Error>.makeStream()
        let task = Task {
            do {
                try await store.withSubscription(to: selectors, whenFull: .dropOldest(limit: UpstashStream.bufferLimit)) {
                    source in
                    beginning.yield()
                    await forward(source, to: inbox, time: time)
                }
            } catch {
                beginning.finish(throwing: error)
            }
            inbox.finish()
        }
        let live = LiveSubscription(events: events, task: task)
        var first = began.makeAsyncIterator()
        _ = try await first.next()
        return live
    }

    private static func forward(_ source: Subscription, to inbox: SubscriptionInbox, time: any TimeSource) async {
        await withTaskCancellationOrGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    while (try? await time.sleep(for: UpstashStream.heartbeat)) != nil { inbox.deliver(Bytes(), on: pulse) }
                }
                for await event in source {
                    switch event {
                    case .message(let channel, let payload): inbox.deliver(payload, on: channel)
                    case .gap(let missed): inbox.announceGap(missed: missed)
                    }
                }
                group.cancelAll()
            }
        } onCancelOrGracefulShutdown: {
            inbox.finish()
        }
    }
}
