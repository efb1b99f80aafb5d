/// An atomic step that is stated twice: as Lua for servers and as Swift for the embedded store.
///
/// A script is a constant of its service, declared with both bodies in one file and tested to agree. It validates first and
/// writes after, returns integers and byte strings (never floats), draws no randomness, and touches only keys it was given,
/// which share one slot.
///
/// **Arguments.** `ARGV[1]` is always the time: milliseconds, or empty for "the server's own clock, read once". The preamble turns
/// it into the local variable `now` (a number of milliseconds, exact in a double until the year 287396). The service's own
/// arguments begin at `ARGV[2]`; the Swift body gets `now` and those arguments without the time.
public final class Script: Sendable {
    /// The Swift twin. `arguments` are ARGV without the time; errors that the Lua twin returns with `redis.error_reply` are thrown.
    public typealias Body =
        @Sendable (inout Keyspace, _ keys: [Key], _ arguments: [Bytes], _ now: Timestamp) throws(ReplyError) -> Reply

    /// Dotted name of service and step, such as `lock.release`.
    public let name: String
    /// Raised whenever meaning, keys or arguments change. The previous version stays replayable for one minor release.
    public let version: Int
    /// The whole Lua source. Its first line (`#!lua`) lets a full or read-only server refuse the script before it runs; without it
    /// the first write inside would fail and what came before would stay.
    public let lua: String
    /// Whether running it twice has the effect of running it once, so that it may be sent again when a reply was lost.
    public let isIdempotent: Bool
    /// Whether it may store more than it removes. One that does is refused as a whole where the store is full; one that does not
    /// (a deletion, a read) runs all the same.
    public let needsMemory: Bool
    let body: Body

    public init(
        _ name: String, version: Int, isIdempotent: Bool = false, needsMemory: Bool = true, lua: String, body: @escaping Body
    ) {
        self.name = name
        self.version = version
        self.isIdempotent = isIdempotent
        self.needsMemory = needsMemory
        self.lua = (needsMemory ? "#!lua\n" : "#!lua flags=allow-oom\n") + Self.preamble + lua
        self.body = body
    }

    /// The name under which the version is known in errors, journals and outboxes: `lock.release@1`.
    public var identifier: String { "\(name)@\(version)" }

    /// Reads the time once. TIME's seconds and microseconds are strings; the sum stays far below 2^53.
    static let preamble = """
        local now = tonumber(ARGV[1])
        if not now then
          local time = redis.call('TIME')
          now = time[1] * 1000 + math.floor(time[2] / 1000)
        end

        """
}

/// One call of a ``Script``: its keys and arguments, and the type of its answer.
public struct Procedure<Output: Sendable>: Sendable {
    public let script: Script
    public let keys: [Key]
    /// The time that decides; nil for the store's own clock.
    public let now: Timestamp?
    /// The service's own arguments.
    public let ownArguments: [Bytes]
    let decode: @Sendable (Reply) -> Output?

    /// - Parameters:
    ///   - now: the time that decides, or nil for the store's own clock.
    ///   - decode: the answer for a reply, or nil where the reply has another shape.
    public init(
        _ script: Script, keys: [Key], arguments: [Bytes], now: Timestamp? = nil,
        decode: @escaping @Sendable (Reply) -> Output?
    ) {
        self.script = script
        self.keys = keys
        self.now = now
        ownArguments = arguments
        self.decode = decode
    }

    /// ARGV as a server gets it: the time (or empty) first.
    public var arguments: [Bytes] { [now.map { Bytes($0.milliseconds) } ?? Bytes()] + ownArguments }

    /// The answer in a reply.
    public func output(of reply: Reply) throws(StoreError) -> Output {
        if case .error(let error) = reply {
            throw StoreError(error, operation: script.identifier, scriptMayHaveRun: !error.isBeforeRun)
        }
        guard let output = decode(reply) else {
            throw StoreError(.unexpectedReply, effect: .unknown, operation: script.identifier)
        }
        return output
    }
}

extension ReplyError {
    /// Whether a script that answered this cannot have run: the server refused it at the door, or the script's own validation did
    /// (scripts validate first and answer `ERR …` then; a failure half-way carries the script's name).
    package var isBeforeRun: Bool { !line.contains("script:") }
}
