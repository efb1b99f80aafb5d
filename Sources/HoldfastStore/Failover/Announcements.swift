import DequeModule

/// Tells listeners of changes: each one once, in order, outside of all locks, whoever makes them.
///
/// A change is published under the publisher's own lock and delivered afterwards. The first to deliver does so for all; one who
/// publishes meanwhile leaves its change to it.
final class Announcements<Element: Sendable>: Sendable {
    private struct State {
        var latest: Element
        /// How many were published.
        var count = 0
        var waiting = Deque<Element>()
        var isDelivering = false
        var listeners: [Int: Listener] = [:]
        var nextID = 0
    }

    private struct Listener {
        let continuation: AsyncStream<Element>.Continuation
        /// How many were published when it began to listen: it has the latest of them.
        let heard: Int
    }

    /// How many changes wait for a slow listener; the oldest give way.
    static var bufferLimit: Int { 16 }

    private let state: Locked<State>
    private let observer: @Sendable (Element) -> Void

    /// - Parameter observer: told of each change before the listeners are.
    init(_ latest: Element, observer: @escaping @Sendable (Element) -> Void) {
        state = Locked(State(latest: latest))
        self.observer = observer
    }

    deinit { finish() }

    /// The latest first, then each change, until ``finish()``.
    func listen() -> AsyncStream<Element> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Element.self, bufferingPolicy: .bufferingNewest(Self.bufferLimit))
        let id = state.withLock { state in
            // Nobody reads yet, so nobody is resumed under the lock.
            continuation.yield(state.latest)
            state.nextID += 1
            state.listeners[state.nextID] = Listener(continuation: continuation, heard: state.count)
            return state.nextID
        }
        continuation.onTermination = { [weak self] _ in self?.leave(id) }
        return stream
    }

    /// Takes a change into the order. The caller holds the lock under which it was made, and calls ``deliver()`` after it.
    func publish(_ element: Element) {
        state.withLock { state in
            state.latest = element
            state.count += 1
            state.waiting.append(element)
        }
    }

    /// Delivers what was published, unless somebody does so already.
    func deliver() {
        let isOurs = state.withLock { state in
            defer { state.isDelivering = true }
            return !state.isDelivering
        }
        guard isOurs else { return }
        while let (element, listeners) = next() {
            observer(element)
            for listener in listeners { listener.yield(element) }
        }
    }

    /// Ends all that listen. Whoever listens later is told of later changes.
    func finish() {
        let listeners = state.withLock { state -> [Int: Listener] in
            defer { state.listeners = [:] }
            return state.listeners
        }
        for listener in listeners.values { listener.continuation.finish() }
    }

    /// The next change with those who have not heard of it; nil, and nobody delivers any more, when there is none.
    private func next() -> (Element, [AsyncStream<Element>.Continuation])? {
        state.withLock { state in
            let number = state.count - state.waiting.count + 1
            guard let element = state.waiting.popFirst() else {
                state.isDelivering = false
                return nil
            }
            return (element, state.listeners.values.filter { $0.heard < number }.map(\.continuation))
        }
    }

    private func leave(_ id: Int) { state.withLock { _ = $0.listeners.removeValue(forKey: id) } }
}
