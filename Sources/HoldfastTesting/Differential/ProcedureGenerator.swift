public import HoldfastStore

/// How random calls of one procedure are made for the differential runner.
///
///     ProcedureGenerator(LimitProcedures.fixedWindow) { g in
///         (keys: [g.names.key("limit:\(g.id())")], arguments: [Bytes(Int64(g.int(1...5))), Bytes(60_000)])
///     }
///
/// Draw keys from few identifiers and arguments from few values, edges and nonsense included: what agrees on good arguments only
/// does not agree. Moments should be near `g.now`, so that the steps that advance time make them pass.
public struct ProcedureGenerator: Sendable {
    /// Keys, and the service's own arguments (ARGV from 2 on; the runner puts the time in front).
    public typealias Call = (keys: [Key], arguments: [Bytes])

    public let script: Script
    /// Whether the reply is a list whose order means nothing.
    public let isReplyUnordered: Bool
    private let make: @Sendable (inout Generation) -> Call

    public init(
        _ script: Script, isReplyUnordered: Bool = false, _ make: @escaping @Sendable (inout Generation) -> Call
    ) {
        self.script = script
        self.isReplyUnordered = isReplyUnordered
        self.make = make
    }

    public func next(using generation: inout Generation) -> Call { make(&generation) }
}
