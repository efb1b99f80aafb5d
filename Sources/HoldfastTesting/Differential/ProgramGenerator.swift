public import HoldfastStore

/// Makes programs: the same seed, procedures and length give the same program.
public struct ProgramGenerator: Sendable {
    private let procedures: [ProcedureGenerator]
    private let commands: [CommandGenerator]
    private let weightedCommands: [Int]

    /// - Parameter procedures: the procedures that programs call beside the commands.
    public init(procedures: [ProcedureGenerator] = []) {
        self.procedures = procedures
        let commands = CommandGenerator.all.filter { CommandTable.shared[Bytes($0.name)] != nil }
        self.commands = commands
        weightedCommands = commands.indices.flatMap { Array(repeating: $0, count: commands[$0].weight) }
    }

    /// The commands of the table that no generator makes; a test demands that there are none but those that mean nothing here.
    public static var commandsWithoutGenerator: [String] {
        let made = Set(CommandGenerator.all.map(\.name))
        return CommandTable.shared.commands.map(\.name).filter { !made.contains($0) }
    }

    public func program(seed: UInt64, length: Int, names: Namespace, start: Timestamp) -> [Step] {
        var generation = Generation(seed: seed, names: names, now: start)
        var steps: [Step] = []
        steps.reserveCapacity(length)
        while steps.count < length {
            let step = next(&generation)
            if case .advance(let span) = step { generation.now = generation.now + span }
            steps.append(step)
        }
        return steps
    }

    private func next(_ g: inout Generation) -> Step {
        let roll = g.int(0...99)
        if roll < 4 { return .advance(.milliseconds(g.chance(0.3) ? g.int(1...3) : g.int(1...20_000))) }
        if roll < 34, !procedures.isEmpty {
            let procedure = g.pick(procedures)
            let call = procedure.next(using: &g)
            return .procedure(
                procedure.script, keys: call.keys, arguments: call.arguments, isReplyUnordered: procedure.isReplyUnordered)
        }
        if roll < 38 {
            let commands = (0..<g.int(1...4)).compactMap { _ in transactional(&g) }
            if !commands.isEmpty { return .transaction(commands) }
        }
        return .command(command(&g))
    }

    private func command(_ g: inout Generation) -> [Bytes] {
        let generator = commands[g.pick(weightedCommands)]
        let arguments = generator.make(&g)
        let name = g.chance(0.1) ? generator.name.lowercased() : generator.name
        let command = [Bytes(name)] + arguments
        return g.chance(0.07) ? Malformation.apply(to: command, &g) : command
    }

    /// A command that may stand in a transaction: what it answers must not depend on chance, nor on a clock that differs between
    /// the stores, because within a transaction the runner cannot set right what ended by the program's clock.
    private func transactional(_ g: inout Generation) -> [Bytes]? {
        let generator = commands[g.pick(weightedCommands)]
        guard !CommandTraits.isRandom(generator.name), !CommandTraits.isScan(generator.name) else { return nil }
        let command = [Bytes(generator.name)] + generator.make(&g)
        guard !CommandTraits.dependsOnTime(command) else { return nil }
        return g.chance(0.03) ? Malformation.apply(to: command, &g) : command
    }
}

/// Ways to get a command wrong.
enum Malformation {
    static func apply(to command: [Bytes], _ g: inout Generation) -> [Bytes] {
        var command = command
        switch g.int(0...5) {
        case 0: command.removeLast(command.count > 1 ? 1 : 0)
        case 1: command.append(g.pick(words))
        case 2: command[0] = Bytes(command[0].lossyString + "X")
        default:
            // Keys stay: what other steps touch must be known from the command.
            let keys = Set((CommandTable.shared.keys(in: command) ?? []).map(\.bytes))
            let places = command.indices.dropFirst().filter { !keys.contains(command[$0]) }
            // A lexical sorted set would get a score.
            if keys.contains(where: { $0.starts(with: g.names.key("x:").bytes) }) { return command }
            guard !places.isEmpty else { return command + [g.pick(words)] }
            command[g.pick(Array(places))] = g.pick(toleratesHugeNumbers(command[0]) ? words + numbers : words)
        }
        return command
    }

    private static let words: [Bytes] = ["abc", "", "1.5", "-1", "nan", " 1", "+1", "0x1", "NX", "WITHSCORES", "COUNT", "-0"]
    private static let numbers: [Bytes] = [
        Bytes(Int64.max), Bytes(Int64.min), "9223372036854775808", "99999999999999999999",
    ]

    /// Random picks with a huge negative count would never end; amounts are long doubles in Redis, which hold more than ours; what
    /// LPOS makes of the smallest rank changed after Redis 7.0.
    private static func toleratesHugeNumbers(_ name: Bytes) -> Bool {
        let name = name.lossyString.uppercased()
        return !CommandTraits.isRandom(name) && !name.hasSuffix("INCRBYFLOAT") && name != "LPOS"
    }
}
