public import HoldfastStore

extension Ledger {
    /// Requests with an idempotency key.
    struct RequestsRecord: Sendable {
        var answers: [String: Bytes] = [:]
        /// The requests that were answered in two ways.
        var contradicted: Set<String> = []
        var rights: [String: [Right]] = [:]
        var round = 0
    }

    /// Who had the right to a request's effect: a process that was cut off, and since when, until the server has heard of it.
    struct Right: Sendable {
        let process: Process
        let isAway: Bool
        let began: Step
        var handedOver: Step?
    }

    /// The name of a request: others once the server has forgotten those of before, and in each round.
    public func requestName(_ number: Int) -> String { "r\(number).\(requests.round).\(loss?.number ?? 0)" }

    /// From now on other requests are made: whoever was cut off before has nothing to do with them.
    public mutating func beginsRound() { requests.round += 1 }

    /// A process that was cut off at any moment of its request is not known of elsewhere until it has handed over.
    public mutating func tried(_ key: String, _ process: Process, isAway: Bool, began: Step) {
        requests.rights[key, default: []].append(Right(process: process, isAway: isAway, began: began))
    }

    mutating func endRights(of process: Process, at step: Step) {
        for (key, list) in requests.rights {
            for place in list.indices where list[place].process == process && list[place].handedOver == nil {
                requests.rights[key]?[place].handedOver = step
            }
        }
    }

    /// The requests that two processes tried, one of them cut off and not heard of yet: what the one does is not known to the other; see
    /// `docs/decisions/0007-idempotency.md`.
    var manySided: Set<String> {
        Set(
            requests.rights.filter { _, list in
                list.contains { away in
                    away.isAway && list.contains { $0.process != away.process && $0.began < away.handedOver ?? .max }
                }
            }.keys)
    }

    /// - Parameter began: when the request did. Of what the server has forgotten since there may be a second answer.
    public mutating func answered(_ key: String, _ answer: Bytes, _ process: Process, began: Step) {
        if crashed.contains(process) || !isAfterLoss(began) { return }
        trace?("    \(process.name): request \(key) is answered \(answer)")
        if let first = requests.answers[key], first != answer { requests.contradicted.insert(key) }
        requests.answers[key] = answer
    }

    /// When all is quiet again.
    public mutating func answeredInTheEnd() {
        // What has two effects has two answers, and what was answered before the server forgot is not asked for again.
        for key in requests.contradicted.subtracting(manySided).sorted() {
            violated("twice: request \(key) was answered in two ways")
        }
    }
}
