import HoldfastStore

/// How the server gets a call that was decided here under its own name (``OperationID``): as an entry of the outbox, with the marker that
/// its first send bore, so that what the server did of that and lost the reply of is not done again.
///
/// A charge whose window is over by then counts nothing any more: its cost is handed over as zero, and what is left is that the name is known.
enum RateLimitReplay {
    /// - Parameter instances: by how many the local store's limits are divided.
    static func register(in outbox: Outbox, time: any TimeSource, sharedBy instances: @escaping @Sendable () -> Int) {
        // Not the outbox itself, which holds these.
        let longest = outbox.configuration.longestOutage
        for script in [RateLimitProcedures.record, RateLimitProcedures.refund] {
            // It looks at its age itself: what counts nothing any more is no loss.
            outbox.register(
                ReplayAction(
                    script.identifier, endures: true,
                    recall: { (entry, local) throws(StoreError) in
                        _ = try await local.run(recollection(script, entry, sharedBy: instances(), at: time.now))
                    }
                ) { (entry, server) throws(StoreError) in
                    let now = entry.now(by: time)
                    let procedure = try procedure(script, entry, at: now)
                    let countsNothing = entry.ends.allSatisfy { $0 <= now.milliseconds }
                    if let last = entry.arguments[0].integer, now.milliseconds >= last {
                        // Rather once too few than twice, but not in silence.
                        if countsNothing { return }
                        throw StoreError(.tooOld, "It may have been charged before the outage, and its marker has ended")
                    }
                    guard entry.age(by: time) <= longest else {
                        if countsNothing { return }
                        throw StoreError(.tooOld, "It waited longer than \(longest)")
                    }
                    _ = try await server.run(procedure)
                })
        }
    }

    /// Keys: as the procedure's. Arguments: until when it may be carried out, in Unix milliseconds, empty for no end; for each charge
    /// when it counts no more; the procedure's.
    ///
    /// - Parameters:
    ///   - call: with its name.
    ///   - moment: when it was decided, by the local store.
    ///   - now: the present.
    ///   - sent: when it went to the server by `uptime`, where it may have happened there: beyond its marker's time nobody can tell any more.
    static func item(
        _ mode: RateLimitProcedures.Mode, _ call: RateLimitCall, at moment: Timestamp, now: Moment, sent: Duration?,
        in outbox: Outbox
    ) throws(StoreError) -> Outbox.Item {
        let longest = outbox.configuration.longestOutage
        let script = mode == .refund ? RateLimitProcedures.refund : RateLimitProcedures.record
        let procedure = try call.blindProcedure(script, retention: max(call.retention, longest))
        // The hand-over takes time, too.
        let last = sent.map { now.wall(at: $0 + call.retention - min(.seconds(60), call.retention / 2)) }
        let ends = call.charges.map { Bytes((now.wall + $0.rule.span(ofChargeAt: moment, cost: $0.cost)).milliseconds) }
        return Outbox.Item(
            script.identifier, keys: procedure.keys,
            arguments: [last.map { Bytes($0.milliseconds) } ?? Bytes()] + ends + procedure.ownArguments,
            named: name(of: call), rank: [sent == nil ? 0 : 1])
    }

    static func name(of call: RateLimitCall) -> Bytes? { call.marker?.bytes }

    /// As it was decided here, of the local share and at its own time: so the share is used up as before.
    private static func recollection(
        _ script: Script, _ entry: OutboxEntry, sharedBy instances: Int, at now: Timestamp
    ) throws(StoreError) -> Procedure<Bool> {
        let whole = try procedure(script, entry, at: now)
        var arguments = whole.ownArguments
        for place in stride(from: 0, to: arguments.count - 1, by: 6) {
            try share(&arguments[place..<(place + 6)], of: instances)
        }
        return Procedure(script, keys: whole.keys, arguments: arguments, now: min(entry.accepted, now)) { $0.elements != nil }
    }

    /// Of a bucket the limit has a part in what its state means.
    private static func share(_ terms: inout ArraySlice<Bytes>, of instances: Int) throws(StoreError) {
        let first = terms.startIndex
        guard let algorithm = terms[first].string.flatMap(RateLimit.Algorithm.init), algorithm.hasBurst,
            let capacity = terms[first + 2].integer, let a = terms[first + 3].integer, let b = terms[first + 4].integer,
            let window = terms[first + 5].integer, a > 0
        else { return }
        let limit = (Double(window) * Double(b) / Double(a)).rounded()
        let rule = RateLimit("recalled", algorithm, limit: Int(limit), per: .milliseconds(window), burst: Int(capacity))
            .share(of: instances)
        try rule.checkRanges()
        let (perToken, perMillisecond, span) = try rule.terms()
        terms.replaceSubrange(
            (first + 2)..., with: [Bytes(Int64(rule.capacity)), Bytes(perToken), Bytes(perMillisecond), Bytes(span)])
    }

    private static func procedure(
        _ script: Script, _ entry: OutboxEntry, at now: Timestamp
    ) throws(StoreError) -> Procedure<Bool> {
        let count = entry.keys.count - 1
        guard count > 0, entry.arguments.count == 1 + count + 6 * count + 1 else {
            throw StoreError(.unsupportedFormat, "The entry has not the form of \(entry.action)")
        }
        var arguments = Array(entry.arguments[(1 + count)...])
        for (index, end) in entry.ends.enumerated() where end <= now.milliseconds { arguments[6 * index + 1] = "0" }
        return Procedure(script, keys: entry.keys, arguments: arguments) { $0.elements != nil }
    }
}

extension OutboxEntry {
    /// When each charge counts no more.
    fileprivate var ends: [Int64] { arguments[1..<keys.count].map { $0.integer ?? .max } }
}

extension RateLimit {
    /// How long a charge of that moment counts, whatever came with it.
    func span(ofChargeAt moment: Timestamp, cost: Int) -> Duration {
        switch algorithm {
        case .fixedWindow:
            let window = window.milliseconds
            return .milliseconds((moment.milliseconds / window + 1) * window - moment.milliseconds)
        case .slidingCounter, .slidingLog: return window
        case .tokenBucket, .gcra:
            // A debt takes longer than a burst.
            let refill = Double(window.milliseconds) * Double(cost) / Double(max(1, limit))
            return max(recovery, .milliseconds(Int64(refill.rounded(.up))))
        }
    }
}
