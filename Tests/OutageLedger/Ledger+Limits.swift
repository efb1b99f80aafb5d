public import Holdfast
public import HoldfastStore

extension Ledger {
    struct LimitsRecord: Sendable {
        /// By the server, or one of two.
        var admissions: [String: Int] = [:]
        /// By processes themselves; `Ledger+Shares.swift`.
        var shares: [Process: ShareRecord] = [:]
        /// How many instances each process must know of, where they are counted.
        var instances: [Process: Int] = [:]
        /// What the server admitted, by the window in which its clock was.
        var serverWindows: [Int64: Int] = [:]
        var meters: [String: [MeterStep]] = [:]
    }

    /// - Parameters:
    ///   - began: when the check began.
    ///   - admission: of a process that decides by itself.
    public mutating func decided(
        _ decision: RateLimitDecision, _ process: Process, limit: Int, window: Duration, began: Step, _ admission: Admission
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
        if decision.by.isLocal { return admitted(admission, by: process, in: number, limit: limit) }
        // Which of two servers has admitted it, where one has forgotten the other's, nobody knows of what was under way.
        if let loss, began < loss.back { return }
        let place = loss.map { "the server after loss \($0.number)" } ?? "the server"
        limits.admissions["\(place) in window \(number)", default: 0] += 1
        guard let count = limits.admissions["\(place) in window \(number)"], count > limit else { return }
        violated("limit: \(place) admitted \(count) in window \(number), bound \(limit)")
    }

    // MARK: - Meters: rules that are never exhausted, so that all that is charged can be counted

    public enum MeterChange: Sendable { case charge, refund, reset }

    public enum MeterOutcome: Sendable {
        case done(Decider)
        /// It may have happened.
        case unknown
        /// It has not happened, and never will.
        case refused
    }

    struct MeterStep: Sendable {
        let change: MeterChange
        let amount: Int
        let process: Process
        /// Whether a process that decides it by itself keeps it in a sum, which may end with the process.
        let isSum: Bool
        let began: Step
        /// When its caller was told.
        var ended: Step?
        var promise: Promise?
        var mayHaveHappened = true
    }

    /// - Returns: what ``ends(_:of:_:)`` is told.
    public mutating func begins(
        _ change: MeterChange, of meter: String, _ amount: Int = 1, by process: Process, isSum: Bool = false
    ) -> Int {
        let step = MeterStep(change: change, amount: amount, process: process, isSum: isSum, began: now())
        limits.meters[meter, default: []].append(step)
        return limits.meters[meter, default: []].count - 1
    }

    public mutating func ends(_ number: Int, of meter: String, _ outcome: MeterOutcome) {
        guard var step = limits.meters[meter]?[number], !crashed.contains(step.process) else { return }
        switch outcome {
        case .done(let decider):
            let promise = promise(step.process, began: step.began, decider)
            (step.promise, step.ended) = (promise, promise.step)
        case .unknown: break
        case .refused: (step.mayHaveHappened, step.ended) = (false, now())
        }
        limits.meters[meter]?[number] = step
    }

    /// When all is quiet again.
    public mutating func metered(_ used: Int, of meter: String, _ process: Process) {
        let steps = limits.meters[meter] ?? []
        let (least, most) = (leastCharged(steps), mostCharged(steps))
        if used < least { violated("lost: in the end \(process.name) sees \(used) of \(meter), at least \(least) are due") }
        if used > most { violated("twice: in the end \(process.name) sees \(used) of \(meter), at most \(most) were tried") }
    }

    /// What was acknowledged and still counts, less all that may have been given back.
    private func leastCharged(_ steps: [MeterStep]) -> Int {
        let resets = steps.filter { $0.change == .reset && $0.mayHaveHappened }
        return steps.reduce(0) { sum, step in
            switch step.change {
            case .reset: sum
            case .refund: step.mayHaveHappened ? sum - step.amount : sum
            // A reset of which nobody knows may come at any time.
            case .charge where resets.contains { $0.promise == nil || $0.ended ?? .max > step.began }: sum
            case .charge: isDue(step) ? sum + step.amount : sum
            }
        }
    }

    /// What may have been charged and not been reset, less what was certainly given back.
    private func mostCharged(_ steps: [MeterStep]) -> Int {
        let resets = steps.filter { $0.change == .reset && $0.promise != nil }
        return steps.reduce(0) { sum, step in
            switch step.change {
            case .reset: sum
            case .charge:
                step.mayHaveHappened && !resets.contains { wasThere(step, when: $0.began) } ? sum + step.amount : sum
            // Of what the server has forgotten nothing can be given back.
            case .refund: loss == nil && resets.isEmpty && isDue(step) ? sum - step.amount : sum
            }
        }
    }

    private func isDue(_ step: MeterStep) -> Bool {
        guard let promise = step.promise, isKept(promise) else { return false }
        return !step.isSum || !crashedWithSums.contains(step.process) || isHandedOver(promise)
    }

    /// Whether the server had it for certain by then.
    private func wasThere(_ step: MeterStep, when moment: Step) -> Bool {
        step.promise.map { $0.step < moment && isHandedOver($0, by: moment) } ?? false
    }
}
