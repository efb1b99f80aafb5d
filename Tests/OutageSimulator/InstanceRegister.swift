import Holdfast
import HoldfastStore
import HoldfastTesting
import OutageLedger

/// How many instances each process must know of, told beside the product from the renewals that the server carries out and the replies that
/// arrive (`docs/OUTAGES.md`, "How many share a limit").
///
/// 1. A renewal holds for a lease from the moment at which the server carries it out, by its clock, unless it forgets.
/// 2. Whoever has the reply knows how many held one at that moment, and goes by the most that it has heard of within a lease of the last reply.
/// 3. A successor with the folder begins with what its predecessor knew, which is there within a second, as if it had heard that with its
///    first reply; one without begins with one.
final class InstanceRegister: Sendable {
    typealias Observer = @Sendable (_ process: Ledger.Process, _ instances: Int) -> Void

    private struct Answer: Sendable {
        let at: Duration
        let count: Int
    }

    private struct Knowledge: Sendable {
        /// Until the first reply.
        let inherited: Int
        var heard: [Answer] = []
        /// By how many it had to go since when.
        var history: [Answer]

        init(_ inherited: Int, at moment: Duration) {
            self.inherited = inherited
            history = [Answer(at: moment, count: inherited)]
        }

        mutating func hear(_ count: Int, at moment: Duration, lease: Duration) {
            if heard.isEmpty { heard.append(Answer(at: moment, count: inherited)) }
            heard.append(Answer(at: moment, count: count))
            heard.removeAll { $0.at <= moment - lease }
            history.append(Answer(at: moment, count: heard.map(\.count).max() ?? 1))
        }

        /// What the folder has at least: it may not have been told yet what was new in the last second.
        func left(at moment: Duration) -> Int {
            let written = history.lastIndex { $0.at <= moment - .seconds(1) } ?? 0
            return history[written...].map(\.count).min() ?? 1
        }
    }

    private struct State {
        /// When the leases end, in Unix milliseconds by the server's clock.
        var leases: [Ledger.Process: Int64] = [:]
        var knowledge: [Ledger.Process: Knowledge] = [:]
    }

    private let time: ManualTime
    private let lease = Instances.Configuration().lease
    private let observer: Observer
    private let state = Locked(State())

    init(time: ManualTime, observer: @escaping Observer) {
        self.time = time
        self.observer = observer
    }

    /// A process is about to start.
    ///
    /// - Parameter predecessor: whose folder it has.
    func starts(_ process: Ledger.Process, after predecessor: Ledger.Process? = nil) {
        let now = time.uptime
        let count = state.withLock { state in
            let count = predecessor.flatMap { state.knowledge[$0]?.left(at: now) } ?? 1
            state.knowledge[process] = Knowledge(count, at: now)
            return count
        }
        observer(process, count)
    }

    /// The server has carried out a renewal.
    ///
    /// - Returns: how many hold a lease.
    func renewed(by process: Ledger.Process) -> Int {
        let now = time.now.milliseconds
        return state.withLock { state in
            state.leases[process] = now + lease.milliseconds
            return state.leases.values.count(where: { $0 > now })
        }
    }

    /// The reply has arrived.
    func heard(of holders: Int, by process: Ledger.Process) {
        let now = time.uptime
        let count = state.withLock { state in
            state.knowledge[process]?.hear(holders, at: now, lease: lease)
            return state.knowledge[process]?.history.last?.count ?? 1
        }
        observer(process, count)
    }

    func serverForgets() { state.withLock { $0.leases = [:] } }
}
