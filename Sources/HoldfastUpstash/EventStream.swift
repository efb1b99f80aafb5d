import AsyncHTTPClient
import HoldfastStore
import NIOCore
import NIOHTTP1

/// One channel or pattern, listened to until cancelled: opened, read, and opened again when it is lost.
struct EventStream: Sendable {
    let selector: ChannelSelector
    let client: RESTClient
    let inbox: SubscriptionInbox

    /// A stream that has brought nothing has to live so long before the next attempt comes soon again.
    private static let proof: Duration = .seconds(10)

    /// - Parameter beginning: told once that the endpoint listens, or why it does not.
    /// - Throws: what the endpoint said when it refused a stream that had begun, and would the next time too (``StreamEnd/refused(_:)``).
    ///   The subscription has ended then.
    func run(_ beginning: AsyncThrowingStream<Void, any Error>.Continuation) async throws(StoreError) {
        var pause = client.configuration.reconnectBackoff.lowerBound
        var hasBegun = false
        while !Task.isCancelled {
            var hasHeard = false
            var confirmed: Duration?
            do throws(StreamEnd) {
                try await listen { message in
                    switch message {
                    case .confirmation:
                        confirmed = SystemTime.system.uptime
                        if hasBegun { inbox.announceGap() } else { beginning.yield() }
                        hasBegun = true
                    case .message(let channel, let payload):
                        hasHeard = true
                        inbox.deliver(payload, on: channel)
                    case .gap(let missed): inbox.announceGap(missed: missed)
                    }
                }
            } catch {
                let failure = error.failure.during("SUBSCRIBE")
                guard hasBegun else { return beginning.finish(throwing: failure) }
                if case .refused = error, !Task.isCancelled {
                    inbox.finish()
                    beginning.finish(throwing: failure)
                    throw failure
                }
            }
            guard hasBegun else {
                return beginning.finish(throwing: StoreError(.connectionLost, "The stream ended at once", operation: "SUBSCRIBE"))
            }
            // One that is confirmed and ends at once, again and again, is no better than one that is not made.
            if hasHeard || confirmed.map({ SystemTime.system.uptime - $0 >= Self.proof }) == true {
                pause = client.configuration.reconnectBackoff.lowerBound
            }
            try? await Task.sleep(for: pause * Double.random(in: 0.5...1))
            pause = min(pause * 2, client.configuration.reconnectBackoff.upperBound)
        }
        beginning.finish()
    }

    /// Reads one stream to its end, or until it has been silent for too long.
    private func listen(_ take: (Message) -> Void) async throws(StreamEnd) {
        let response = try await client.open(path)
        let isEncoded = response.headers.first(name: "Upstash-Encoding") == "base64"
        var lines = EventLines()
        do {
            for try await buffer in response.body {
                guard let events = lines.read(buffer.readableBytesView) else { throw StoreError(.protocolViolation) }
                for event in events {
                    if let message = Message(event, isEncoded: isEncoded, selector) { take(message) }
                }
            }
        } catch { throw .lost(RESTFailure.error(error, isCallersDeadline: false)) }
    }

    private var path: String {
        switch selector {
        case .channel(let channel), .shardChannel(let channel): "/subscribe/" + RESTCall.encoded(channel.bytes)
        case .pattern(let pattern): "/psubscribe/" + RESTCall.encoded(pattern)
        }
    }
}

extension EventStream {
    /// What an event means.
    enum Message: Hashable {
        case confirmation
        case message(channel: HoldfastStore.Channel, payload: Bytes)
        case gap(missed: Int?)

        /// Nil for what has no meaning here, such as a heartbeat.
        ///
        /// The parts of a message have commas between them and may hold commas: the name that was subscribed to is known, so only a
        /// pattern's channel ends at the next one.
        init?(_ event: EventLines.Event, isEncoded: Bool, _ selector: ChannelSelector) {
            switch event {
            case .comment(let text):
                guard text.starts(with: "gap".utf8) else { return nil }
                self = .gap(missed: text.dropFirst(4).integer.map(Int.init(clamping:)))
            case .data(let text):
                let name = isEncoded ? RESTCarrier.encoded(selector.name) : selector.name
                if text.starts(with: Array("\(selector.verb),".utf8) + name) {
                    self = .confirmation
                    return
                }
                let head = Array((selector.isPattern ? "pmessage," : "message,").utf8) + name + [UInt8(ascii: ",")]
                guard text.starts(with: head) else { return nil }
                let rest = text.dropFirst(head.count)
                guard let (channel, payload) = selector.split(rest) else { return nil }
                guard isEncoded else {
                    self = .message(channel: HoldfastStore.Channel(channel), payload: payload.compacted())
                    return
                }
                guard let bytes = Base64.standard.decode(payload) else { return nil }
                let whole = selector.isPattern ? Base64.standard.decode(channel).map { Bytes($0) } : channel
                guard let whole else { return nil }
                self = .message(channel: HoldfastStore.Channel(whole), payload: Bytes(bytes))
            }
        }
    }
}

extension ChannelSelector {
    fileprivate var isPattern: Bool { if case .pattern = self { true } else { false } }
    fileprivate var verb: String { isPattern ? "psubscribe" : "subscribe" }

    fileprivate var name: Bytes {
        switch self {
        case .channel(let channel), .shardChannel(let channel): channel.bytes
        case .pattern(let pattern): pattern
        }
    }

    /// Channel and payload of what stands behind the name that was subscribed to.
    fileprivate func split(_ rest: Bytes) -> (channel: Bytes, payload: Bytes)? {
        guard case .pattern = self else { return (name, rest) }
        guard let comma = rest.firstIndex(of: UInt8(ascii: ",")) else { return nil }
        return (rest[rest.startIndex..<comma], rest[(comma + 1)..<rest.endIndex])
    }
}
