import HoldfastStore

/// What can be said of an answer that depends on chance: how many elements it has and where they come from.
struct RandomReply {
    let command: [Bytes]
    /// The entry before the command.
    let before: KeyState?
    let isRESP2: Bool

    /// What is wrong with the two answers taken together, or nil.
    func fault(_ ours: Reply, _ theirs: Reply) -> String? {
        if case .error = ours { return ours == theirs ? nil : "one store answers an error" }
        if case .error = theirs { return "one store answers an error" }
        guard ours.isNull == theirs.isNull else { return "one store answers nothing" }
        guard (ours.elements == nil) == (theirs.elements == nil) else { return "the answers have different shapes" }
        let (left, right) = (ReplyForm.leaves(ours), ReplyForm.leaves(theirs))
        guard left.count == right.count else { return "the answers have different numbers of elements" }
        // In RESP2 pairs are flat.
        guard isRESP2 || ours.elements?.count == theirs.elements?.count else { return "the answers have different shapes" }
        return fault(in: left)
    }

    private func fault(in leaves: [Bytes]) -> String? {
        guard command[0].lossyString.uppercased() != "RANDOMKEY" else { return nil }
        let hasValues = command.count == 4
        let picked = hasValues ? pairs(leaves) : leaves.map { [$0] }
        guard Set(picked).isSubset(of: candidates(withValues: hasValues)) else { return "an element was not in the entry" }
        let mayRepeat = command.count > 2 && (command[2].integer ?? 0) < 0
        guard mayRepeat || Set(picked).count == picked.count else { return "an element was picked twice" }
        return nil
    }

    private func candidates(withValues: Bool) -> Set<[Bytes]> {
        guard let before else { return [] }
        if before.type == "set" { return Set(before.content.map { [$0] }) }
        return Set(pairs(before.content).map { withValues ? $0 : [$0[0]] })
    }

    private func pairs(_ leaves: [Bytes]) -> [[Bytes]] {
        stride(from: 0, to: leaves.count - 1, by: 2).map { [leaves[$0], leaves[$0 + 1]] }
    }
}
