import HoldfastStore

/// The commands between MULTI and EXEC.
struct Transaction {
    struct Command {
        let entry: CommandDirectory.Entry
        let arguments: [Bytes]
    }

    private(set) var commands: [Command] = []
    private(set) var bytes = 0
    private(set) var mayWrite = false
    /// A command was refused: EXEC will refuse all.
    var isBroken = false

    mutating func queue(_ entry: CommandDirectory.Entry, _ arguments: [Bytes]) {
        // The arguments are slices of what was received, which is soon overwritten.
        let kept = arguments.map { $0.compacted() }
        if entry.traits.contains(.write) { mayWrite = true }
        bytes += kept.reduce(64) { $0 + 64 + $1.count }
        commands.append(Command(entry: entry, arguments: kept))
    }
}
