/// Why a configuration cannot be used: one line for each thing that is wrong.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Each names the variable, its value (secrets redacted) and what is accepted.
    public let problems: [String]

    public init(_ problems: [String]) { self.problems = problems }
    init(_ problem: String) { problems = [problem] }

    public var description: String { problems.joined(separator: "\n") }
}
