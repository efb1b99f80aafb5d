import HoldfastStore

extension Endpoint {
    /// How a transaction has ended.
    enum Execution {
        case done
        /// A watched entry has changed, and nothing was done.
        case undone
        /// The disk fails, and nothing was done.
        case refused(ReplyError)
    }

    /// Carries out a transaction under one lock. Commands that are about more than the key space follow it, and their answers stand
    /// in their places; where the answers are too many and the client is lost, the rest of these is left.
    func execute(_ transaction: Transaction, of client: Client) -> Execution {
        let begin = client.writer.count
        var holes: [(offset: Int, command: Transaction.Command)] = []
        let execution = store.withKeyspace { keyspace -> Execution in
            if transaction.mayWrite, case .refused(let refusal) = keyspace.writeAdmission { return .refused(refusal) }
            for (key, mark) in client.watched where keyspace.hasChanged(key, since: mark) { return .undone }
            client.writer.array(transaction.commands.count)
            for command in transaction.commands {
                if !perform(command.entry, command.arguments, client, &keyspace) {
                    holes.append((client.writer.count, command))
                }
            }
            return .done
        }
        guard case .done = execution else { return execution }
        for command in transaction.commands where !command.entry.traits.contains(.hidden) {
            showMonitors(command.arguments, of: client)
        }
        fill(holes, behind: begin, client)
        return .done
    }

    private func fill(_ holes: [(offset: Int, command: Transaction.Command)], behind begin: Int, _ client: Client) {
        // One who watches itself by MONITOR can be lost by now.
        guard !holes.isEmpty, !client.isLost else { return }
        let written = client.writer.bytes
        client.writer.truncate(to: begin)
        var position = begin
        for (offset, command) in holes {
            client.writer.append(written[position..<offset])
            position = offset
            guard case .client(let body) = command.entry.action else { continue }
            do throws(ReplyError) {
                try body(Call(endpoint: self, client: client, arguments: command.arguments))
            } catch {
                client.writer.error(error.line)
            }
            if client.writer.count > configuration.outputBytes { client.lose() }
            guard !client.isLost else { return }
        }
        client.writer.append(written[position...])
    }
}
