extension Keyspace {
    /// Carries out one operation at the time ``now`` and answers what Redis would.
    public mutating func execute(_ operation: Operation) -> Reply {
        do {
            return try perform(operation)
        } catch {
            return .error(error)
        }
    }

    private mutating func perform(_ operation: Operation) throws(ReplyError) -> Reply {
        // A limit is the exception: without one nothing is computed.
        if limits.maximumBytes > 0, let growth = operation.growth { try makeRoom(for: growth) }
        return switch operation {
        case .strings(let operation): try strings(operation)
        case .hashes(let operation): try hashes(operation)
        case .lists(let operation): try lists(operation)
        case .sets(let operation): try sets(operation)
        case .sortedSets(let operation): try sortedSets(operation)
        case .keys(let operation): try keys(operation)
        case .server(let operation): try server(operation)
        // Publishing changes no key; the store that holds the key space delivers.
        case .pubSub: .integer(0)
        case .raw(let arguments): try perform(try CommandTable.shared.operation(arguments))
        }
    }

    private mutating func server(_ operation: ServerOperation) throws(ReplyError) -> Reply {
        switch operation {
        case .ping(nil): return .status("PONG")
        case .ping(let text?), .echo(let text): return .bytes(text)
        case .time:
            return .array([
                .bytes(Bytes(now.milliseconds / 1000)), .bytes(Bytes(now.milliseconds % 1000 * 1000)),
            ])
        case .dbsize:
            removeExpired(limit: .max)
            return .integer(Int64(count))
        case .flushdb:
            removeAll()
            emit(.server(.flushdb))
            return .ok
        case .info: return .bytes(Bytes(info))
        }
    }

    /// The lines of INFO that have a meaning for a key space.
    private var info: String {
        """
        # Server\r
        redis_version:\(Self.redisVersion)\r
        redis_mode:embedded\r
        # Memory\r
        used_memory:\(usedBytes)\r
        maxmemory:\(limits.maximumBytes)\r
        maxmemory_policy:\(limits.policy.rawValue)\r
        # Stats\r
        expired_keys:\(expiredCount)\r
        evicted_keys:\(evictedCount)\r
        # Keyspace\r
        db0:keys=\(count),expires=\(expiries.count)\r

        """
    }
}
