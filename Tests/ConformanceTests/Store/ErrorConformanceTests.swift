import Holdfast
import HoldfastStore
import TestServers
import Testing

/// Errors are of the same kind on every store, and say that nothing happened.
@Suite struct ErrorConformanceTests {
    @Test(arguments: Backend.available)
    func aWrongTypeIsToldForEveryFamily(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let (text, list) = (names.key("text"), names.key("list"))
        try await store(.set(text, "x"))
        #expect(try await store(.rpush(list, "x")) == 1)
        func expectWrongType<Output: Sendable>(_ command: Command<Output>) async {
            let error = await #expect(throws: StoreError.self) { _ = try await store(command) }
            #expect(error?.code == .wrongType)
            #expect(error?.effect == StoreError.Effect.none)
            #expect(error?.operation == command.operation.name)
        }
        await expectWrongType(Command<Bytes?>.get(list))
        await expectWrongType(Command<Int>.incr(list))
        await expectWrongType(Command<[Bytes: Bytes]>.hgetall(text))
        await expectWrongType(Command<Int>.lpush(text, "y"))
        await expectWrongType(Command<Int>.sadd(text, "y"))
        await expectWrongType(Command<Double?>.zscore(text, "y"))
        let error = await #expect(throws: StoreError.self) { try await store.compareAndDelete(list, expected: "x") }
        #expect(error?.code == .wrongType)
        #expect(error?.effect == StoreError.Effect.none)
        #expect(try await store(.get(text)) == "x")
    }

    @Test(arguments: Backend.available)
    func aRefusedCommandChangesNothing(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let key = names.key("n")
        try await store(.set(key, Bytes(Int64.max)))
        let error = await #expect(throws: StoreError.self) { try await store(.incr(key)) }
        #expect(error?.code == .commandFailed)
        #expect(error?.effect == StoreError.Effect.none)
        #expect(error?.isServerFailure == false)
        #expect(try await store(.get(key)) == Bytes(Int64.max))
    }

    @Test(arguments: Backend.available)
    func rawCommandsAnswerTheirErrors(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let key = names.key("a").bytes
        let unknown = await #expect(throws: StoreError.self) { try await store(.raw("NOSUCH", key)) }
        #expect(unknown?.code == .unknownCommand)
        let arity = await #expect(throws: StoreError.self) { try await store(.raw("GET")) }
        #expect(arity?.message == "ERR wrong number of arguments for 'get' command")
        #expect(try await store.execute(.raw(["SET", key, "1", "NX", "XX"])) == .error(.syntax))
        #expect(try await store(.raw("set", key, "1")) == .ok)
    }

    private static let refuses = Script(
        "test.refuses", version: 1, lua: "return redis.error_reply('ERR not today')"
    ) { (_, _, _, _) throws(ReplyError) in throw ReplyError("ERR not today") }

    @Test(arguments: Backend.available)
    func aProceduresOwnRefusalHasNoEffect(_ backend: Backend) async throws {
        let (store, names) = (try await backend.store(), backend.namespace())
        let error = await #expect(throws: StoreError.self) {
            try await store.run(Procedure(Self.refuses, keys: [names.key("a")], arguments: []) { $0 })
        }
        #expect(error?.code == .commandFailed)
        #expect(error?.message == "ERR not today")
        #expect(error?.effect == StoreError.Effect.none)
        #expect(error?.operation == "test.refuses@1")
    }
}
