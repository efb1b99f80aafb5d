import HoldfastStore

/// Callers that count up, each under a key of its own, and check every answer: it may never be another caller's, nor say that a counter
/// was counted up by somebody else.
///
/// After a call whose effect is unknown, or that failed, a counter may stand where it stood, one further, or, after a failover,
/// further back; but never beyond what was sent.
final class CounterLoad: Sendable {
    private struct State {
        var acknowledged = 0
        var wrong: [String] = []
        var errors: [String: Int] = [:]
        var isStopped = false
    }

    private let store: any Store
    /// The counter of each caller.
    let keys: [Key]
    private let isExact: Bool
    private let state = Locked(State())

    /// - Parameter isExact: whether each answer must be the very next number: nothing is lost, nothing fails.
    init(_ store: any Store, callers: Int, isExact: Bool = false) {
        self.store = store
        let prefix = "load-\(UInt64.random(in: .min ... .max))"
        keys = (0..<callers).map { Key(raw: Bytes("\(prefix)-\($0)")) }
        self.isExact = isExact
    }

    var acknowledged: Int { state.withLock { $0.acknowledged } }
    var wrongAnswers: [String] { state.withLock { $0.wrong } }
    var errors: [String: Int] { state.withLock { $0.errors } }

    /// Runs the callers while the body runs.
    func run(_ body: () async throws -> Void) async throws {
        let tasks = keys.enumerated().map { number, key in Task { await call(key, number) } }
        defer { state.withLock { $0.isStopped = true } }
        do { try await body() } catch {
            state.withLock { $0.isStopped = true }
            for task in tasks { await task.value }
            throw error
        }
        state.withLock { $0.isStopped = true }
        for task in tasks { await task.value }
    }

    /// Waits until so many more calls were answered.
    func acknowledges(_ count: Int, _ failure: String = "The load does not get through") async throws {
        let goal = acknowledged + count
        // A sentinel that a loaded machine has held up for two seconds does nothing for the next thirty.
        let end = ContinuousClock.now + .seconds(180)
        while acknowledged < goal {
            guard ContinuousClock.now < end else { throw Stalled(description: "\(failure): \(errors)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    struct Stalled: Error, CustomStringConvertible { let description: String }

    private func call(_ key: Key, _ number: Int) async {
        var sent = 0
        while !state.withLock({ $0.isStopped }) {
            // The caller's own number travels with each value: an answer that belongs to another caller shows.
            let tag = key.companion("tag")
            do throws(StoreError) {
                sent += 1
                let count = try await store(.incr(key))
                if count > sent || count < 1 || (isExact && count != sent) {
                    note("caller \(number) sent \(sent) and was answered \(count)")
                }
                try await store(.set(tag, Bytes("\(number):\(sent)")))
                let text = try await store(.get(tag))
                if isExact
                    ? text?.lossyString != "\(number):\(sent)" : text.map({ !$0.lossyString.hasPrefix("\(number):") }) ?? false
                {
                    note("caller \(number) was answered \(text as Any)")
                }
                state.withLock { $0.acknowledged += 1 }
            } catch {
                let name = "\(error.code)"
                state.withLock { $0.errors[name, default: 0] += 1 }
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    private func note(_ fault: String) { state.withLock { $0.wrong.append(fault) } }
}

/// Something that happens once and is waited for.
final class Signal: Sendable {
    private let (stream, continuation) = AsyncStream<Void>.makeStream()

    func send() { continuation.finish() }
    func wait() async throws { for await _ in stream {} }
}
