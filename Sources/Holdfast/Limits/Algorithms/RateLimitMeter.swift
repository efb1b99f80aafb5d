import HoldfastStore

/// One rule's state in a key space while a call is decided: the Swift form of what each algorithm's Lua does.
///
/// All numbers are integers within 2^53, where Lua's doubles are exact and division rounds as it does here. All waits are milliseconds.
protocol RateLimitMeter {
    /// A Lua expression: a table of the functions `read`, `wait`, `add`, `take`, `view` and `write` over a state table `s` and the
    /// rule's numbers `r`. They do what the members of this protocol of those names do.
    static var lua: String { get }

    /// Reads the state and brings it to the present, without writing.
    ///
    /// A state from after `now` means that the server's clock went back: within a window the state's own time holds, so that
    /// nothing is admitted twice; beyond, the state is dropped, so that a clock that was far ahead does not block for as long.
    init(reading keyspace: inout Keyspace, _ key: Key, _ rule: RateLimitTerms, now: Int64) throws(ReplyError)

    /// How long until the rule has room for its cost, which is within the capacity; 0 where it has.
    func wait(in keyspace: inout Keyspace) throws(ReplyError) -> Int64
    /// Charges the cost, room or not.
    mutating func add()
    /// Gives the cost back, as far as anything is charged.
    mutating func take()
    var remaining: Int64 { get }
    var resetAfter: Int64 { get }
    mutating func write(to keyspace: inout Keyspace) throws(ReplyError)
}

/// A rule's numbers as they travel: the five ARGV behind the algorithm's name.
struct RateLimitTerms {
    let cost: Int64
    let capacity: Int64
    /// What these mean stands above each algorithm's Lua.
    let a: Int64
    let b: Int64
    let c: Int64
}

/// What is charged beyond this is forgotten, so that sums stay exact. Twice the largest limit.
let rateLimitCountCeiling: Int64 = 2_000_000_000

extension Int64 {
    /// The quotient rounded up; both are positive or zero.
    func dividedUp(by divisor: Int64) -> Int64 { self / divisor + (self % divisor == 0 ? 0 : 1) }
}

extension Bytes {
    /// Integers in decimal with a separator between them.
    init(decimals integers: [Int64], separator: UInt8) {
        var text: [UInt8] = []
        text.reserveCapacity(20 * integers.count)
        for integer in integers {
            if !text.isEmpty { text.append(separator) }
            text.append(decimal: integer)
        }
        self.init(text)
    }

    /// The parts of a state: so many runs of digits with colons between them; nil for anything else.
    func rateLimitFields(_ count: Int) -> [Int64]? {
        var fields: [Int64] = []
        fields.reserveCapacity(count)
        var value: Int64?
        for byte in self {
            if byte == UInt8(ascii: ":") {
                guard let complete = value else { return nil }
                fields.append(complete)
                value = nil
            } else {
                let digit = byte &- UInt8(ascii: "0")
                guard digit <= 9, value ?? 0 < 1_000_000_000_000_000 else { return nil }
                value = (value ?? 0) * 10 + Int64(digit)
            }
        }
        guard let complete = value else { return nil }
        fields.append(complete)
        return fields.count == count ? fields : nil
    }
}

extension Keyspace {
    /// Puts a state in place, or removes it where nothing is charged.
    mutating func putRateLimit(_ key: Key, _ state: [Int64]?, until moment: Int64) throws(ReplyError) {
        guard let state else {
            delete(key)
            return
        }
        try set(key, Bytes(decimals: state, separator: UInt8(ascii: ":")), expiry: Timestamp(milliseconds: moment))
    }
}
