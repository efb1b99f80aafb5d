/// An operation together with the type of its answer: `Command<Bytes?>.get(key)`.
public struct Command<Output: Sendable>: Sendable {
    public let operation: Operation
    @usableFromInline let decode: @Sendable (Reply) -> Output?

    /// - Parameter decode: the answer for a reply, or nil where the reply has another shape than the command's. It is never given
    ///   an error reply.
    public init(_ operation: Operation, decode: @escaping @Sendable (Reply) -> Output?) {
        self.operation = operation
        self.decode = decode
    }

    /// The answer in a reply.
    /// - Throws: the server's own error, or ``ErrorCode/unexpectedReply``.
    @inlinable public func output(of reply: Reply) throws(StoreError) -> Output {
        if case .error(let error) = reply { throw StoreError(error, operation: operation.name) }
        guard let output = decode(reply) else {
            throw StoreError(.unexpectedReply, effect: .unknown, operation: operation.name)
        }
        return output
    }
}

// The shapes that most commands answer with; each family's file uses them.
extension Command where Output == Bytes? {
    init(optional operation: Operation) { self.init(operation) { $0.isNull ? .some(nil) : $0.bytes } }
}
extension Command where Output == Int {
    init(count operation: Operation) { self.init(operation) { $0.integer.map { Int($0) } } }
}
extension Command where Output == Bool {
    init(flag operation: Operation) { self.init(operation) { $0.integer.map { $0 != 0 } } }
}
extension Command where Output == Double {
    init(double operation: Operation) { self.init(operation) { $0.double } }
}
extension Command where Output == Double? {
    init(optional operation: Operation) { self.init(operation) { $0.isNull ? .some(nil) : $0.double } }
}
extension Command where Output == [Bytes] {
    init(list operation: Operation) { self.init(operation) { $0.isNull ? [] : $0.list } }
}
extension Command where Output == [Bytes?] {
    init(optionals operation: Operation) {
        self.init(operation) { reply in
            reply.elements?.map { $0.bytes }
        }
    }
}
extension Command where Output == Void {
    init(done operation: Operation) {
        self.init(operation) { reply in
            reply.isNull ? nil : ()
        }
    }
}

extension Command where Output == Reply {
    /// Any command of a server, with its answer as it comes. Keys must carry their prefix; see ``Key/bytes``.
    public static func raw(_ arguments: Bytes...) -> Self { raw(arguments) }
    /// Any command of a server, with its answer as it comes. Keys must carry their prefix; see ``Key/bytes``.
    public static func raw(_ arguments: [Bytes]) -> Self { Command(.raw(arguments)) { $0 } }
}
