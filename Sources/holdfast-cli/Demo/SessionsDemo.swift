import Holdfast
import HoldfastStore

/// Raptorflow's session examples: users, agents' conversations, concurrent changes, logout everywhere.
enum SessionsDemo {
    static func play(_ stage: DemoStage, _ journal: DemoJournal) async throws {
        try await life(stage.sessions, journal)
        try await concurrency(stage.sessions, journal)
        try await conversation(stage.sessions, journal)
        try await logout(stage.sessions, journal)
    }

    private static func life(_ sessions: Sessions, _ journal: DemoJournal) async throws {
        let session = try await sessions.create(
            userID: "user-123", workspaceID: "workspace-456", data: ["role": "admin"], ttl: .seconds(1800))
        let seen = try await sessions.get(session.id).value
        journal.check("create and read a session", seen?.data["role"] == "admin" && seen?.workspaceID == "workspace-456")
        let extended = try await sessions.extend(session.id, by: .seconds(7200))
        journal.check("extend it", extended.expires > session.expires)
        let deleted = try await sessions.delete(session.id).value
        let gone = try await sessions.get(session.id).value
        journal.check("end it; nothing brings it back", deleted && gone == nil)
    }

    private static func concurrency(_ sessions: Sessions, _ journal: DemoJournal) async throws {
        let session = try await sessions.create(userID: "user-123")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                group.addTask { try await sessions.update(session.id, set: ["field-\(number)": .integer(Int64(number))]) }
            }
            try await group.waitForAll()
        }
        let data = try await sessions.get(session.id).value?.data ?? [:]
        journal.check("50 concurrent updates of different fields all survive", data.count == 50, "\(data.count) fields")
        do {
            try await sessions.update(session.id, set: ["late": true], expecting: .version(session.version))
            journal.check("a change that expects an old version is refused", false)
        } catch {
            journal.check("a change that expects an old version is refused", error.code == .preconditionFailed, error.code.name)
        }
    }

    private static func conversation(_ sessions: Sessions, _ journal: DemoJournal) async throws {
        let session = try await sessions.create(userID: "user-123", kind: .conversation)
        for number in 1...25 {
            try await sessions.append([NewSessionMessage(role: "user", content: "message \(number)")], to: session.id)
        }
        let messages = try await sessions.get(session.id).value?.messages ?? []
        journal.check(
            "a conversation keeps its last 20 messages", messages.count == 20 && messages.last?.content == "message 25",
            "\(messages.count) kept of 25")
    }

    private static func logout(_ sessions: Sessions, _ journal: DemoJournal) async throws {
        let count = try await sessions.count(userID: "user-123").value
        let revoked = try await sessions.revokeAll(userID: "user-123").value
        let left = try await sessions.count(userID: "user-123").value
        journal.check("log the user out everywhere", count == 2 && revoked == 2 && left == 0, "\(revoked) sessions ended")
    }
}
