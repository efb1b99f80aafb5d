import HoldfastStore

/// MULTI, EXEC, DISCARD, WATCH and UNWATCH.
enum TransactionCommands {
    static let all: [CommandDirectory.Entry] = [
        CommandDirectory.Entry("MULTI", arity: 1, [.notQueued], "transactions") { call throws(ReplyError) in
            guard call.client.transaction == nil else { throw ReplyError("ERR MULTI calls can not be nested") }
            call.client.transaction = Transaction()
            call.client.writer.ok()
        },
        CommandDirectory.Entry("EXEC", arity: 1, [.notQueued], "transactions", run: exec),
        CommandDirectory.Entry("DISCARD", arity: 1, [.notQueued], "transactions") { call throws(ReplyError) in
            guard call.client.transaction != nil else { throw ReplyError("ERR DISCARD without MULTI") }
            call.client.transaction = nil
            call.endpoint.unwatch(call.client)
            call.client.writer.ok()
        },
        CommandDirectory.Entry("WATCH", arity: -2, [.notQueued], "transactions", keys: .all) { call throws(ReplyError) in
            guard call.client.transaction == nil else { throw ReplyError("ERR WATCH inside MULTI is not allowed") }
            call.endpoint.watch(call.rest.map(Key.init(raw:)), for: call.client)
            call.client.writer.ok()
        },
        CommandDirectory.Entry("UNWATCH", arity: 1, [], "transactions") { call in
            call.endpoint.unwatch(call.client)
            call.client.writer.ok()
        },
    ]

    private static func exec(_ call: Call) throws(ReplyError) {
        guard let transaction = call.client.transaction else { throw ReplyError("ERR EXEC without MULTI") }
        call.client.transaction = nil
        defer { call.endpoint.unwatch(call.client) }
        guard !transaction.isBroken else {
            throw ReplyError("EXECABORT Transaction discarded because of previous errors.")
        }
        switch call.endpoint.execute(transaction, of: call.client) {
        case .done: break
        case .undone: call.client.writer.nullArray()
        case .refused(let refusal): throw ReplyError("EXECABORT Transaction discarded because of: \(refusal.line)")
        }
    }
}
