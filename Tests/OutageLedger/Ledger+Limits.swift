public import Holdfast
public import HoldfastStore

extension Ledger {
    struct LimitsRecord: Sendable {
        var admissions: [String: Int] = [:]
        /// What the server admitted, by the window in which its clock was.
        var serverWindows: [Int64: Int] = [:]
        /// Charges, each under a name: what was acknowledged, and how many were tried at all.
        var charges: [Promise] = []
        var tried = 0
    }

    /// - Parameter began: when the check began.
    public mutating func decided(
        _ decision: RateLimitDecision, _ process: Process, limit: Int, window: Duration, began: Step
    ) {
        if crashed.contains(process) { return }
        guard decision.isAllowed else { return }
        let number = decision.at.milliseconds / window.milliseconds
        if serverClockIsSet, !decision.by.isLocal {
            limits.serverWindows[number, default: 0] += 1
            let (count, bound) = (limits.serverWindows.values.reduce(0, +), limits.serverWindows.count * limit)
            if count > bound {
                violated("limit: the server admitted \(count) in \(limits.serverWindows.count) windows, bound \(bound)")
            }
            return
        }
        var (place, bound) = (process.name, max(1, limit / processes))
        if !decision.by.isLocal {
            // Which of two servers has admitted it, where one has forgotten the other's, nobody knows of what was under way.
            if let loss, began < loss.back { return }
            (place, bound) = (loss.map { "the server after loss \($0.number)" } ?? "the server", limit)
        }
        limits.admissions["\(place) in window \(number)", default: 0] += 1
        guard let count = limits.admissions["\(place) in window \(number)"], count > bound else { return }
        violated("limit: \(place) admitted \(count) in window \(number), bound \(bound)")
    }

    public mutating func triesToCharge() { limits.tried += 1 }

    public mutating func charged(by process: Process, _ decider: Decider, began: Step) {
        if crashed.contains(process) { return }
        limits.charges.append(promise(process, began: began, decider))
    }

    public mutating func chargedInTheEnd(_ used: Int, _ process: Process) {
        let charged = limits.charges.filter(isKept).count
        if used < charged { violated("lost: in the end \(process.name) sees \(used) charged of \(charged)") }
        if used > limits.tried { violated("twice: in the end \(process.name) sees \(used) charged of \(limits.tried)") }
    }
}
