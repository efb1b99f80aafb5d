import HoldfastStore

extension Operation {
    /// Whether carrying it out twice has the effect, and gives the answer, of carrying it out once.
    var isIdempotent: Bool {
        if case .strings(.set(_, _, let options)) = self { return options.condition == nil && !options.returnsOld }
        return CommandTable.shared[Bytes(name)]?.flags.contains(.idempotent) ?? false
    }
}
