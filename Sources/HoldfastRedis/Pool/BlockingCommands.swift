import HoldfastStore

/// How long a raw command waits on the server by its own words.
enum BlockingCommands {
    /// In nanoseconds: 0 for a command that does not wait, `UInt64.max` for one that waits for ever.
    static func wait(of operation: Operation) -> UInt64 {
        guard case .raw(let arguments) = operation, let name = arguments.first.map(SharedCommands.word) else { return 0 }
        switch name {
        case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX": return seconds(arguments.last)
        case "BLMPOP", "BZMPOP": return seconds(arguments.dropFirst().first)
        case "WAIT", "WAITAOF": return milliseconds(arguments.last)
        case "XREAD", "XREADGROUP":
            return milliseconds(StreamReadOptions(arguments).block)
        default: return 0
        }
    }

    /// One after the other, as a pipeline is carried out.
    static func wait(of operations: [Operation]) -> UInt64 {
        operations.reduce(0) { sum, operation in
            let (longer, isBeyond) = sum.addingReportingOverflow(wait(of: operation))
            return isBeyond ? .max : longer
        }
    }

    private static func seconds(_ argument: Bytes?) -> UInt64 { nanoseconds(argument?.double.map { $0 * 1e9 }) }
    private static func milliseconds(_ argument: Bytes?) -> UInt64 { nanoseconds(argument?.double.map { $0 * 1e6 }) }

    /// What is no number the server refuses at once; 0 is for ever.
    private static func nanoseconds(_ span: Double?) -> UInt64 {
        guard let span, span >= 0 else { return 0 }
        return span == 0 ? .max : UInt64(exactly: span.rounded()) ?? .max
    }
}
