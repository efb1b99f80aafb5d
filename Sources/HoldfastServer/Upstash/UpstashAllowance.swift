import HoldfastStore

/// What the replies to one request may add up to, weighed as they come.
///
/// All of them are here at once, and once more as the answer's body: without a bound a request of a few hundred bytes makes gigabytes. From
/// the command on whose reply is one too many, errors stand in the places of replies, which say of what changes something whether it has
/// been carried out.
struct UpstashAllowance {
    static let maximumBytes = 64 * 1024 * 1024

    private var left = Self.maximumBytes

    /// Whether the replies so far are too many: what has not been sent yet is not carried out.
    var isSpent: Bool { left < 0 }

    /// Counts a reply; false where it is one too many, as are then all that follow.
    mutating func takes(_ reply: Reply) -> Bool {
        if !isSpent { left -= reply.size }
        return !isSpent
    }

    /// The reply to a command, or what stands in its place.
    mutating func admit(_ reply: Reply, to arguments: [Bytes]) -> Reply {
        guard !takes(reply) else { return reply }
        if case .error = reply { return Self.refusal() }
        return RawCommand.reads(arguments) ? Self.refusal() : Self.refusal(" (it has been carried out)")
    }

    /// What is told in a reply's place.
    static let line = ReplyError.repliesTooLarge(maximumBytes).line

    static func refusal(_ note: String = "") -> Reply { .error(ReplyError(line + note)) }
}
