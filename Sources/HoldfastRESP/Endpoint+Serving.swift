import HoldfastStore
import NIOCore

// From bytes to replies: how what a client has sent is carried out.

extension Endpoint {
    /// How a batch ended.
    private enum Outcome {
        /// All that has come is done.
        case idle
        /// There may be more.
        case more
        /// The command in `client.arguments` needs more than the key space, or care.
        case apart
        /// The next command may write, and more waits for the disk than may.
        case held
        case violation(String)
    }

    /// So many commands are carried out under one lock: about 50 µs of simple ones.
    private static let batch = 64
    /// Replies are handed to the socket once they are this large.
    private static let outputChunk = 256 << 10

    /// Carries out what a client has sent, until there is nothing left to do or its replies should be sent first.
    ///
    /// - Returns: whether there may be more to do once what was written has been sent.
    func serve(_ client: Client) -> Bool {
        defer { client.arguments.removeAll(keepingCapacity: client.arguments.capacity <= 1024) }
        while !client.isClosing {
            switch serveBatch(client) {
            case .idle: return false
            case .more: break
            case .apart:
                guard !mustWait(client) else {
                    client.parser.putBack()
                    hold(client)
                    return false
                }
                serveApart(client)
            case .held:
                hold(client)
                return false
            case .violation(let line):
                client.writer.error(line)
                client.isClosing = true
            }
            if client.writer.count >= Self.outputChunk { return true }
        }
        return false
    }

    /// The fast path: commands of the key space by a client of whom nothing special is known, under one lock.
    private func serveBatch(_ client: Client) -> Outcome {
        let limits = client.isAuthenticated ? configuration.requestLimits : .unauthenticated
        let isPlain = client.isPlain && monitors.isEmpty
        let (outcome, count) = store.withKeyspace { keyspace -> (Outcome, Int) in
            var started = NIODeadline.now()
            for count in 0..<Self.batch {
                do throws(RequestParser.Violation) {
                    guard try client.parser.next(into: &client.arguments, limits) else { return (.idle, count) }
                } catch {
                    return (.violation(error.line), count)
                }
                guard isPlain, let place = directory.place(of: client.arguments[0]) else { return (.apart, count) }
                if directory.entries[place].mayWrite, case .full = keyspace.writeAdmission {
                    client.parser.putBack()
                    return (.held, count)
                }
                guard perform(directory.entries[place], client.arguments, client, &keyspace) else { return (.apart, count) }
                statistics.calls[place] += 1
                let ended = NIODeadline.now()
                noteIfSlow(client.arguments, ended - started, client)
                started = ended
                if client.writer.count >= Self.outputChunk || client.isClosing { return (.more, count + 1) }
            }
            return (.more, Self.batch)
        }
        statistics.commands += count
        return outcome
    }

    /// Carries out a command of the key space; false where it is none.
    func perform(
        _ entry: CommandDirectory.Entry, _ arguments: [Bytes], _ client: Client, _ keyspace: inout Keyspace
    ) -> Bool {
        if case .client = entry.action { return false }
        guard entry.accepts(arguments.count) else {
            client.writer.error(ReplyError.wrongArity(entry.name).line)
            return true
        }
        let reply = answer(entry, arguments, &keyspace)
        client.lastCommand = entry
        // Beyond the limit the client is lost, but a transaction is carried out to its end.
        if !client.isLost {
            client.writer.reply(reply, entry.shape == .counted && arguments.count == 3 ? .list : entry.shape)
            if client.writer.isOverfull { client.lose() }
        }
        return true
    }

    private func answer(_ entry: CommandDirectory.Entry, _ arguments: [Bytes], _ keyspace: inout Keyspace) -> Reply {
        if entry.mayWrite, case .refused(let refusal) = keyspace.writeAdmission { return .error(refusal) }
        do throws(ReplyError) {
            switch entry.action {
            case .operation(let spec): return keyspace.execute(try spec.operation(arguments))
            case .keyspace(let body): return try body(&keyspace, arguments)
            case .client: return .null
            }
        } catch {
            return .error(error)
        }
    }

    private func noteIfSlow(_ arguments: [Bytes], _ span: TimeAmount, _ client: Client) {
        guard slowLog.threshold >= 0, span.nanoseconds >= slowLog.threshold * 1000 else { return }
        slowLog.add(arguments, .nanoseconds(span.nanoseconds), at: time.now, by: client)
    }

    // MARK: - With care

    /// Whether the command in `client.arguments` would change something now, and more waits for the disk than may.
    private func mustWait(_ client: Client) -> Bool {
        guard let place = directory.place(of: client.arguments[0]) else { return false }
        let entry = directory.entries[place]
        let mayWrite = client.transaction.map { $0.mayWrite && entry.name == "EXEC" } ?? entry.mayWrite
        guard mayWrite, case .full = store.withKeyspace({ $0.writeAdmission }) else { return false }
        return true
    }

    /// Carries out the command in `client.arguments`, which is no plain one, or whose client is not.
    private func serveApart(_ client: Client) {
        let arguments = client.arguments
        let answers = client.answers
        let before = client.writer.count
        if answers == .skipNext { client.answers = .all }
        statistics.commands += 1
        do throws(ReplyError) {
            try serveApart(client, arguments)
        } catch {
            statistics.errors += 1
            client.writer.error(error.line)
        }
        if answers == .skipNext || client.answers != .all { client.writer.truncate(to: before) }
    }

    private func serveApart(_ client: Client, _ arguments: [Bytes]) throws(ReplyError) {
        let entry: CommandDirectory.Entry
        do throws(ReplyError) {
            entry = try admit(client, arguments)
        } catch {
            client.transaction?.isBroken = true
            throw error
        }
        if !entry.traits.contains(.notQueued), var transaction = client.transaction {
            client.transaction = nil
            transaction.queue(entry, arguments)
            defer { client.transaction = transaction }
            guard transaction.bytes <= configuration.transactionBytes else {
                transaction.isBroken = true
                throw ReplyError("ERR the transaction is too large")
            }
            client.writer.status("QUEUED")
            return
        }
        if !entry.traits.contains(.hidden) { showMonitors(arguments, of: client) }
        let started = NIODeadline.now()
        if case .client(let body) = entry.action {
            client.lastCommand = entry
            try body(Call(endpoint: self, client: client, arguments: arguments))
        } else {
            _ = store.withKeyspace { perform(entry, arguments, client, &$0) }
        }
        let span = NIODeadline.now() - started
        if !entry.traits.contains(.secret) { noteIfSlow(arguments, span, client) }
    }

    /// Whether a client may call this now, in Redis's order of reasons not to.
    private func admit(_ client: Client, _ arguments: [Bytes]) throws(ReplyError) -> CommandDirectory.Entry {
        let name = arguments[0]
        guard let place = directory.place(of: name) else {
            if InjectedRequest.isOne(name) { client.isClosing = true }
            throw .unknownCommand(name, arguments.dropFirst())
        }
        let entry = directory.entries[place]
        guard entry.accepts(arguments.count) else { throw .wrongArity(entry.name) }
        guard client.isAuthenticated || entry.traits.contains(.noAuth) else {
            throw ReplyError("NOAUTH Authentication required.")
        }
        guard !client.onlyListens || entry.traits.contains(.whileListening) else {
            throw ReplyError(
                "ERR Can't execute '\(entry.name.lowercased())': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
                    + "are allowed in this context")
        }
        // Also where it would only be queued.
        if entry.mayWrite, case .refused(let refusal) = store.withKeyspace({ $0.writeAdmission }) { throw refusal }
        statistics.calls[place] += 1
        return entry
    }
}

/// A browser that was made to talk to us speaks HTTP: whatever follows must not be carried out.
private enum InjectedRequest {
    static func isOne(_ name: Bytes) -> Bool {
        let word = name.lossyString.lowercased()
        return word == "post" || word == "host:"
    }
}
