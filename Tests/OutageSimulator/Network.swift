import Holdfast
import HoldfastStore
import HoldfastTesting
import OutageLedger

/// The calls that are on their way between processes and the server, each held until the schedule lets it go on.
///
/// A call stops twice: before its effect, as a request under way, and after it, as a reply under way. Between any two stops of one
/// call anything may happen to all others.
final class Network: Sendable {
    enum Verdict: Sendable {
        case arrive
        case fail(StoreError)
    }

    enum Stage: Sendable {
        case request, reply
        /// Not on the way at all: the caller's own work takes a while.
        case work
    }

    struct Held: Sendable {
        let id: Int
        /// The link that it goes through.
        let link: SimulatedLink
        let stage: Stage
        /// When its caller gives up, and how that is told.
        let until: Duration
        let surrender: StoreError
        let continuation: CheckedContinuation<Verdict, Never>
    }

    private let held = Locked<(calls: [Held], nextID: Int)>(([], 0))

    var calls: [Held] { held.withLock { $0.calls } }

    func hold(_ stage: Stage, on link: SimulatedLink, until: Duration, _ surrender: StoreError) async -> Verdict {
        let id = held.withLock { held in
            held.nextID += 1
            return held.nextID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { return continuation.resume(returning: .fail(StoreError(.cancelled, effect: .unknown))) }
                let call = Held(
                    id: id, link: link, stage: stage, until: until, surrender: surrender, continuation: continuation)
                held.withLock { $0.calls.append(call) }
            }
        } onCancel: {
            release(id, .fail(StoreError(.cancelled, effect: .unknown)))
        }
    }

    func release(_ id: Int, _ verdict: Verdict) {
        let call = held.withLock { held in
            held.calls.firstIndex { $0.id == id }.map { held.calls.remove(at: $0) }
        }
        call?.continuation.resume(returning: verdict)
    }

    /// Ends the calls whose callers give up by now; whether there were any.
    func expire(at uptime: Duration) -> Bool {
        let due = calls.filter { $0.until <= uptime }
        for call in due { release(call.id, .fail(call.surrender)) }
        return !due.isEmpty
    }

    /// The next moment at which a caller gives up.
    var nextExpiry: Duration? { calls.map(\.until).min() }
}

/// One process's way to the server.
final class SimulatedLink: Store {
    enum State: String, CaseIterable, Sendable {
        case up
        /// Requests are refused at once, and what was under way is lost.
        case cut
        /// Nothing arrives, until callers give up.
        case hanging
        /// The server answers that it loads its data.
        case loading
        /// The server refuses what may write.
        case readOnly
        /// What is sent has its effect, and no reply comes.
        case mute
    }

    let process: Ledger.Process
    var name: String { "\(process.number).\(process.generation)" }
    private let server: EmbeddedStore
    private let network: Network
    private let time: ManualTime
    /// Told of the leases that are renewed, where processes count each other.
    private let register: InstanceRegister?
    private let current = Locked(State.up)

    static let timeout = Duration.seconds(5)

    init(_ process: Ledger.Process, in world: World) {
        self.process = process
        (server, network, time, register) = (world.server, world.network, world.time, world.register)
    }

    var state: State {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }

    func execute(_ operation: Operation) async throws(StoreError) -> Reply {
        let isRead = Self.isRead(operation)
        return try await call(isRead: isRead) { (server) throws(StoreError) in try await server.execute(operation) }
    }

    func execute(_ batch: Batch) async throws(StoreError) -> [Reply] {
        let isRead = batch.operations.allSatisfy(Self.isRead)
        return try await call(isRead: isRead) { (server) throws(StoreError) in try await server.execute(batch) }
    }

    func run<Output>(_ procedure: Procedure<Output>) async throws(StoreError) -> Output {
        let isRenewal = procedure.script === InstanceProcedures.renew
        var holders = 0
        let output = try await call(isRead: false) { (server) throws(StoreError) -> Output in
            let output = try await server.run(procedure)
            if isRenewal, let register { holders = register.renewed(by: process) }
            return output
        }
        if isRenewal, let register { register.heard(of: holders, by: process) }
        return output
    }

    func withSubscription<Result: Sendable>(
        to channels: [ChannelSelector], whenFull overflow: Subscription.Overflow, _ body: (Subscription) async throws -> Result
    ) async throws -> Result {
        guard state == .up else { throw StoreError(.connectionFailed) }
        return try await server.withSubscription(to: channels, whenFull: overflow, body)
    }

    private static func isRead(_ operation: Operation) -> Bool {
        CommandTable.shared.commands.first { $0.name == operation.name }?.flags.contains(.readOnly) ?? false
            || operation.name == "PING"
    }

    private func call<Output>(
        isRead: Bool, _ body: (EmbeddedStore) async throws(StoreError) -> Output
    ) async throws(StoreError) -> Output {
        let (until, surrender) = patience
        try await pass(.request, until, surrender)
        switch state {
        case .loading: throw StoreError(.serverLoading)
        case .readOnly where !isRead: throw StoreError(.serverReadOnly)
        default: break
        }
        let result: Result<Output, StoreError>
        do { result = .success(try await body(server)) } catch { result = .failure(error) }
        try await pass(.reply, until, surrender)
        return try result.get()
    }

    private func pass(_ stage: Network.Stage, _ until: Duration, _ surrender: StoreError) async throws(StoreError) {
        if case .fail(let error) = await network.hold(stage, on: self, until: until, surrender) { throw error }
    }

    /// Until when a call that begins now is waited for: the caller's deadline, or the command timeout.
    private var patience: (Duration, StoreError) {
        let timeout = time.uptime + Self.timeout
        if let deadline = CallContext.current?.deadline, deadline < timeout {
            return (deadline, StoreError(.deadlineExceeded, effect: .unknown))
        }
        return (timeout, StoreError(.timeout, effect: .unknown))
    }
}
