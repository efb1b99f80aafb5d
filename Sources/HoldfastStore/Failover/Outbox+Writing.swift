import Synchronization

// How an entry comes to be in the folder.
//
// One task for each entry writes it, however many callers change it meanwhile, and writes it as it is at that moment: states in between need
// not be there, because a later one has taken their place. So a folder that hangs is given one copy of an entry, and memory is bounded by the
// entries that there are: what is taken back or handed over while it is written needs its room until the folder has let go of it.

/// Room that entries need which are gone, but are being written.
struct OutboxLeavings: Sendable {
    private var sizes: [Int64: Int] = [:]
    private(set) var bytes = 0

    var count: Int { sizes.count }

    mutating func add(_ number: Int64, _ size: Int) {
        remove(number)
        sizes[number] = size
        bytes += size
    }

    mutating func remove(_ number: Int64) { bytes -= sizes.removeValue(forKey: number) ?? 0 }
}

extension Outbox {
    /// Writes an entry until it is there as it is, for all who have changed it; by whoever ``SharedRuns/ask(_:)`` told to begin.
    func writeUntilKept(_ number: Int64) async {
        var goesOn = state.withLock { beginWrite(number, &$0) }
        while goesOn {
            let outcome: Result<Void, StoreError>
            do throws(StoreError) {
                outcome = .success(try await write(number))
            } catch {
                outcome = .failure(error)
            }
            // In one step with the room that is free again: whoever is told of it may need it.
            let callers = state.withLock { state in
                defer { goesOn = beginWrite(number, &state) }
                return state.writes[number]?.end() ?? []
            }
            for caller in callers { caller.settle(outcome) }
        }
    }

    /// False where it is there as it is, and nobody writes it any more.
    private func beginWrite(_ number: Int64, _ state: inout State) -> Bool {
        if state.writes[number]?.begin() == true { return true }
        state.writes[number] = nil
        state.leavings.remove(number)
        return false
    }

    private func write(_ number: Int64) async throws(StoreError) {
        // Handed over or taken back: whoever did that tells the folder.
        guard let store, let entry = state.withLock({ $0.entries[number]?.entry }) else { return }
        do throws(StoreError) {
            _ = try await store(.hset(Self.entriesKey, [HashField(entry.field, entry.encoded)]))
        } catch {
            state.withLock { refuse(number, error, &$0) }
            try? await settleFolder()
            throw error.withUnknownEffect()
        }
        // The folder takes writes.
        if accept(number) { return settleFolderSoon() }
        // It went while it was written, and may have come to be there after it was removed.
        state.withLock { owe(&$0, entry: number) }
        do throws(StoreError) { try await settleFolder() } catch { throw error.withUnknownEffect() }
    }

    private func refuse(_ number: Int64, _ error: StoreError, _ state: inout State) {
        // A write that was refused has left nothing there, so nothing is noted of what is refused while the disk fails.
        if error.effect == .unknown { owe(&state, entry: number) }
        guard let waiting = state.entries[number] else { return }
        // It stays where it contains what was accepted, or what somebody else is about to have accepted.
        if waiting.isKept { return owe(&state, entry: number) }
        if state.writes[number]?.isWanted != true { remove(waiting, &state) }
    }

    /// False where it is gone.
    private func accept(_ number: Int64) -> Bool {
        state.withLock { state in
            accept(number, &state)
            return state.entries[number] != nil
        }
    }

    func accept(_ number: Int64, _ state: inout State) {
        guard state.entries[number]?.isKept == false else { return }
        state.entries[number]?.isKept = true
        kept.add(1, ordering: .releasing)
    }
}
