/// What may be carried out twice, because nobody knows whether it was carried out once.

extension Operation {
    /// Whether carrying it out twice has the effect, and gives the answer, of carrying it out once.
    package var isIdempotent: Bool {
        if case .strings(.set(_, _, let options)) = self { return options.condition == nil && !options.returnsOld }
        // NX, XX, GT and LT are answered otherwise the second time.
        if case .keys(.pexpireat(_, _, let condition)) = self { return condition == nil }
        return flags.contains(.idempotent)
    }

    /// Whether it runs a script of its caller's, which may answer any error line whatever it has done: none of them says that nothing was
    /// carried out, or where something lies.
    package var runsScript: Bool {
        guard case .raw = self else { return false }
        return ["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"].contains(name.uppercased())
    }

    /// Whether it changes nothing, by the command table.
    package var isRead: Bool { flags.contains(.readOnly) }

    private var flags: CommandSpec.Flags { CommandTable.shared[Bytes(name)]?.flags ?? [] }

    /// Whether its answer is the same whatever is stored.
    fileprivate var hasFixedAnswer: Bool {
        if case .strings(.set) = self { return isIdempotent }
        return ["MSET", "SETEX", "PSETEX"].contains(name)
    }

    /// The keys that it may write; nil where these may be any.
    fileprivate var written: Set<Key>? {
        guard let spec = CommandTable.shared[Bytes(name)] else { return nil }
        guard spec.flags.contains(.write) else { return [] }
        return spec.keys == .none ? nil : Set(keys)
    }

    /// Whether it may be answered otherwise once these keys, or, where nil, any have other values. One without keys may look at all.
    fileprivate func isAnswered(by written: Set<Key>?) -> Bool {
        guard written?.isEmpty != true, !hasFixedAnswer else { return false }
        guard let written else { return true }
        let keys = keys
        return keys.isEmpty || !written.isDisjoint(with: keys)
    }
}

extension [Operation] {
    /// For each, whether its part in carrying all of them out twice, in their order, has the effect, and gives the answer, of its part in
    /// carrying them out once. Not so where one is idempotent by itself and a later one writes what its answer tells of:
    /// `GET counter`, `SET counter 0`.
    package var repeatable: [Bool] {
        var repeatable = map(\.isIdempotent)
        guard let first = indices.first(where: { repeatable[$0] && !self[$0].hasFixedAnswer }) else { return repeatable }
        // By those behind the place.
        var written: Set<Key>? = []
        for place in indices[first...].reversed() {
            if self[place].isAnswered(by: written) { repeatable[place] = false }
            if let keys = self[place].written { written?.formUnion(keys) } else { written = nil }
        }
        return repeatable
    }

    /// Whether carrying all of them out twice has the effect, and gives the answers, of carrying them out once.
    package var areIdempotent: Bool { repeatable.allSatisfy { $0 } }
}
