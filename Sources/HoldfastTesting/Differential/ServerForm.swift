import HoldfastStore

/// A command as the server is given it, whose clock is not the program's: relative moments become absolute ones, and times to live
/// are read as moments. What is malformed stays as it is, so that the server's own error is compared.
struct ServerForm {
    private(set) var arguments: [Bytes]
    /// What the reply says in the program's time.
    private(set) var reading: @Sendable (Reply) -> Reply = { $0 }

    init(_ command: [Bytes], now: Timestamp) {
        arguments = command
        switch (command[0].lossyString.uppercased(), command.count) {
        case ("EXPIRE", 3...): makeAbsolute(at: 2, scale: 1000, now, as: "PEXPIREAT")
        case ("PEXPIRE", 3...): makeAbsolute(at: 2, scale: 1, now, as: "PEXPIREAT")
        case ("SETEX", 4): makeSet(scale: 1000, now)
        case ("PSETEX", 4): makeSet(scale: 1, now)
        case ("SET", 4...): makeOptionsAbsolute(from: 3, now)
        case ("GETEX", 3...): makeOptionsAbsolute(from: 2, now)
        case ("TTL", 2): makeTimeLeft(now) { ($0 + 500) / 1000 }
        case ("PTTL", 2): makeTimeLeft(now) { $0 }
        default: break
        }
    }

    /// The moment that a span names, unless it is out of the range in which the two forms mean the same.
    private static func moment(_ span: Bytes, scale: Int64, _ now: Timestamp, positive: Bool) -> Bytes? {
        guard let span = span.integer, span.magnitude < 1_000_000_000, !positive || span > 0 else { return nil }
        return Bytes(now.milliseconds + span * scale)
    }

    private mutating func makeAbsolute(at index: Int, scale: Int64, _ now: Timestamp, as name: Bytes) {
        guard let moment = Self.moment(arguments[index], scale: scale, now, positive: false) else { return }
        arguments[0] = name
        arguments[index] = moment
    }

    private mutating func makeSet(scale: Int64, _ now: Timestamp) {
        guard let moment = Self.moment(arguments[2], scale: scale, now, positive: true) else { return }
        arguments = ["SET", arguments[1], arguments[3], "PXAT", moment]
    }

    private mutating func makeOptionsAbsolute(from start: Int, _ now: Timestamp) {
        var index = start
        while index + 1 < arguments.count {
            let scale: Int64? =
                switch arguments[index].lossyString.uppercased() {
                case "EX": 1000
                case "PX": 1
                default: nil
                }
            if let scale, let moment = Self.moment(arguments[index + 1], scale: scale, now, positive: true) {
                arguments[index] = "PXAT"
                arguments[index + 1] = moment
                index += 1
            }
            index += 1
        }
    }

    private mutating func makeTimeLeft(_ now: Timestamp, _ unit: @escaping @Sendable (Int64) -> Int64) {
        arguments[0] = "PEXPIRETIME"
        reading = { reply in
            guard case .integer(let moment) = reply, moment >= 0 else { return reply }
            return .integer(unit(moment - now.milliseconds))
        }
    }
}
