import HoldfastStore

/// A row of the folder: a sum, or a batch under its name. See ``LocalConsumption``.
struct ConsumptionRecord {
    struct Batch {
        let number: Int64
        let operation: OperationID
        /// By `uptime`.
        let made: Duration
    }

    let names: Namespace
    /// Nil for a sum.
    let batch: Batch?
    /// The amounts are what counted at the moment.
    let charges: [LocalConsumption.Entry]
    let moment: Timestamp
    /// How the clocks stand: in memory times are told by one that no other process has, in the folder by the wall clock.
    private let clock: Moment

    init(_ names: Namespace, _ charges: [LocalConsumption.Entry], at moment: Timestamp, by clock: Moment) {
        (self.names, self.charges, self.moment, self.clock) = (names, charges, moment, clock)
        batch = nil
    }

    init(
        _ batch: LocalConsumption.Batch, _ charges: [LocalConsumption.Entry?], at moment: Timestamp, by clock: Moment
    ) {
        names = batch.names
        self.batch = Batch(number: batch.number, operation: batch.operation, made: batch.made)
        self.charges = charges.compactMap(\.self)
        (self.moment, self.clock) = (moment, clock)
    }

    // MARK: - As it is kept

    // A ``ByteList``: the form's number, the prefix, "1" before a tenant, the tenant, the moment; of a batch its number, name, retention and
    // moment, four empty strings for a sum; then each charge, a list in itself.

    private static let form: Bytes = "1"

    var encoded: Bytes {
        var fields: [Bytes] = [
            Self.form, Bytes(names.prefix), names.tenant == nil ? "0" : "1", Bytes(names.tenant ?? ""),
            Bytes(moment.milliseconds),
        ]
        if let batch {
            fields += [
                Bytes(batch.number), Bytes(batch.operation.text), batch.operation.retentionArgument,
                Bytes(clock.wall(at: batch.made).milliseconds),
            ]
        } else {
            fields += [Bytes(), Bytes(), Bytes(), Bytes()]
        }
        return Bytes(ByteList.encode(fields + charges.map { $0.encoded(by: clock) }))
    }

    /// Nil where the bytes are none, or were written by a later version.
    init?(decoding bytes: Bytes, by clock: Moment) {
        guard let fields = ByteList.decode(bytes), fields.count > 9, fields[0] == Self.form, let prefix = fields[1].string,
            let tenant = fields[3].string, let moment = fields[4].integer
        else { return nil }
        names = Namespace(prefix: prefix, tenant: fields[2] == "1" ? tenant : nil)
        self.moment = Timestamp(milliseconds: moment)
        self.clock = clock
        if fields[6].isEmpty {
            batch = nil
        } else {
            guard let number = fields[5].integer, let retention = fields[7].integer, let made = fields[8].integer,
                let operation = OperationID(fields[6].lossyString, retention: .milliseconds(retention))
            else { return nil }
            batch = Batch(number: number, operation: operation, made: clock.uptime(at: Timestamp(milliseconds: made)))
        }
        var charges: [LocalConsumption.Entry] = []
        for bytes in fields[9...] {
            guard let entry = LocalConsumption.Entry(decoding: bytes, by: clock) else { return nil }
            charges.append(entry)
        }
        self.charges = charges
    }
}

extension LocalConsumption.Entry {
    /// Rule (name, algorithm, limit, window in ms, burst), amount, end, what was taken back; then kind and id of each part of the subject.
    fileprivate func encoded(by clock: Moment) -> Bytes {
        let rule = charge.rule
        let fields: [Bytes] = [
            Bytes(rule.name), Bytes(rule.algorithm.rawValue), Bytes(Int64(rule.limit)), Bytes(rule.window.milliseconds),
            rule.burst.map { Bytes(Int64($0)) } ?? Bytes(), Bytes(Int64(amount)), Bytes(clock.wall(at: end).milliseconds),
            Bytes(Int64(takenBack)),
        ]
        return Bytes(ByteList.encode(fields + charge.subject.parts.flatMap { [Bytes($0.kind.rawValue), Bytes($0.id)] }))
    }

    fileprivate init?(decoding bytes: Bytes, by clock: Moment) {
        guard let fields = ByteList.decode(bytes), fields.count >= 10, fields.count.isMultiple(of: 2),
            let name = fields[0].string,
            let algorithm = fields[1].string.flatMap(RateLimit.Algorithm.init), let limit = fields[2].integer,
            let window = fields[3].integer, let amount = fields[5].integer, let end = fields[6].integer,
            let takenBack = fields[7].integer, (1...Int64(RateLimit.maximumLimit)).contains(amount)
        else { return nil }
        var subject: RateLimitSubject?
        for place in stride(from: 8, to: fields.count, by: 2) {
            guard let kind = fields[place].string.flatMap(RateLimitSubject.Kind.init), let id = fields[place + 1].string else {
                return nil
            }
            let part = RateLimitSubject(kind, id)
            subject = subject?.and(part) ?? part
        }
        guard let subject else { return nil }
        let burst = fields[4].integer.map { Int($0) }
        let rule = RateLimit(name, algorithm, limit: Int(limit), per: .milliseconds(window), burst: burst)
        let charge = RateLimitCharge(rule, for: subject)
        guard (try? charge.validate()) != nil else { return nil }
        let span = clock.uptime(at: Timestamp(milliseconds: end)) - clock.uptime
        // By how many is known to whoever recalls it.
        self.init(charge, amount: Int(amount), counting: span, from: clock, sharedBy: .max)
        self.takenBack = Int(takenBack)
    }
}

extension LocalConsumption.Row {
    /// Under which it is kept.
    var field: Bytes {
        switch self {
        case .sum(_, let key): Bytes(Array("sum:".utf8) + key.bytes)
        case .batch(let operation): Bytes("batch:\(operation.text)")
        }
    }
}
