import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct ConversationTests {
    private func message(_ text: String) -> NewSessionMessage { NewSessionMessage(role: "user", content: .string(text)) }

    @Test func aConversationKeepsItsLastMessagesForTwiceTheTime() async throws {
        let fixture = SessionFixture(.init(conversationWindow: 3))
        let created = try await fixture.sessions.create(userID: "u", kind: .conversation)
        #expect(created.idleTTL == .seconds(7200))
        #expect(created.messages.isEmpty)
        try await fixture.sessions.append([message("0")], to: created.id)
        fixture.time.advance(by: .seconds(1))
        try await fixture.sessions.append([message("1"), message("2")], to: created.id)
        let reply = NewSessionMessage(role: "assistant", content: ["text": "hello"], metadata: ["model": "m"])
        let session = try await fixture.sessions.append([reply], to: created.id)
        #expect(session.messages.map(\.number) == [1, 2, 3])
        #expect(session.messages.map(\.content) == ["1", "2", ["text": "hello"]])
        #expect(session.messages.last?.role == "assistant")
        #expect(session.messages.last?.metadata == ["model": "m"])
        #expect(session.messages.last?.sent == fixture.time.now)
        #expect(try await fixture.sessions.get(created.id).value?.messages == session.messages)
    }

    @Test func theDefaultWindowIsTwenty() async throws {
        let fixture = SessionFixture()
        let id = try await fixture.sessions.create(userID: "u", kind: .conversation).id
        let session = try await fixture.sessions.append((0..<50).map { message("\($0)") }, to: id)
        #expect(session.messages.map(\.number) == Array(30..<50))
        #expect(try await fixture.sessions.append([message("50")], to: id).messages.map(\.number) == Array(31...50))
    }

    @Test func messagesThatDoNotFitPushOldOnesOut() async throws {
        let fixture = SessionFixture(.init(limits: .init(bytes: 200)))
        let id = try await fixture.sessions.create(userID: "u", kind: .conversation, data: ["a": 1]).id
        for number in 0..<5 { try await fixture.sessions.append([message("message \(number)")], to: id) }
        let session = try #require(try await fixture.sessions.get(id).value)
        #expect(session.messages.last?.number == 4)
        #expect((1..<5).contains(session.messages.count))
        #expect(session.data == ["a": 1])
        let error = await #expect(throws: StoreError.self) {
            try await fixture.sessions.append([message(String(repeating: "x", count: 165))], to: id)
        }
        #expect(error?.code == .tooLarge)
        #expect(try await fixture.sessions.get(id).value?.messages == session.messages)
    }

    @Test func concurrentAppendsAllSurviveWithNumbersOfTheirOwn() async throws {
        let fixture = SessionFixture(.init(conversationWindow: 100))
        let id = try await fixture.sessions.create(userID: "u", kind: .conversation).id
        try await withThrowingTaskGroup { group in
            for number in 0..<50 { group.addTask { try await fixture.sessions.append([message("\(number)")], to: id) } }
            try await group.waitForAll()
        }
        let messages = try #require(try await fixture.sessions.get(id).value?.messages)
        #expect(messages.map(\.number) == Array(0..<50))
        #expect(Set(messages.map(\.content)).count == 50)
    }
}
