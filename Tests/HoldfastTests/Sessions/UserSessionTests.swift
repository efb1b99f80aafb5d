import Holdfast
import HoldfastStore
import HoldfastTesting
import Testing

@Suite struct UserSessionTests {
    let fixture = SessionFixture()
    var sessions: Sessions { fixture.sessions }
    var index: Key { fixture.names.key("user_sessions:u") }

    @Test func aShortSessionDoesNotEndALongOnesIndexEntry() async throws {
        let long = try await sessions.create(userID: "u", ttl: .seconds(10_000), absoluteTTL: .seconds(20_000))
        let short = try await sessions.create(userID: "u", ttl: .seconds(10), absoluteTTL: .seconds(20))
        #expect(try await sessions.count(userID: "u").value == 2)
        fixture.time.advance(by: .seconds(20))
        #expect(try await sessions.get(short.id).value == nil)
        #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [long.id])
        fixture.time.advance(by: .seconds(9000))
        #expect(try await sessions.get(long.id).value != nil)
        #expect(try await sessions.count(userID: "u").value == 1)
        #expect(try await sessions.revokeAll(userID: "u").value == 1)
        #expect(try await sessions.get(long.id).value == nil)
    }

    @Test func anIndexEntryStaysAsLongAsItsSessionIsUsed() async throws {
        let id = try await sessions.create(userID: "u", ttl: .seconds(10), absoluteTTL: .seconds(100)).id
        for _ in 0..<11 {
            fixture.time.advance(by: .seconds(9))
            _ = try await sessions.get(id)
            #expect(try await sessions.count(userID: "u").value == 1)
        }
        fixture.time.advance(by: .seconds(1))
        #expect(try await fixture.store(.dbsize) == 0, "the index ends with its last session")
    }

    @Test func entriesOfSessionsThatHaveGoneAreRemovedByWhoeverReads() async throws {
        for _ in 0..<3 { _ = try await sessions.create(userID: "u", ttl: .seconds(10)) }
        let live = try await sessions.create(userID: "u")
        fixture.time.advance(by: .seconds(10))
        #expect(try await fixture.store(.zcard(index)) == 4)
        #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [live.id])
        #expect(try await fixture.store(.zcard(index)) == 1)
    }

    @Test func everySessionIsListedOnceNewestFirst() async throws {
        var ids: [SessionID] = []
        for number in 0..<25 {
            // Several in each millisecond.
            if number.isMultiple(of: 4) { fixture.time.advance(by: .milliseconds(1)) }
            ids.append(try await sessions.create(userID: "u").id)
        }
        var listed: [Session] = []
        var cursor: String?
        repeat {
            let page = try await sessions.list(userID: "u", limit: 3, cursor: cursor)
            listed += page.sessions
            // Those that have been listed may go.
            if let last = page.sessions.last { try await sessions.delete(last.id) }
            cursor = page.cursor
            if let cursor { #expect(!listed.contains { cursor.contains($0.id.text) }, "a cursor tells no id") }
            if listed.count > 3 { break }
        } while cursor != nil
        (listed, cursor) = ([], nil)
        let left = try await sessions.count(userID: "u").value
        repeat {
            let page = try await sessions.list(userID: "u", limit: 3, cursor: cursor)
            listed += page.sessions
            cursor = page.cursor
        } while cursor != nil
        #expect(listed.count == left)
        #expect(Set(listed.map(\.id)).count == left)
        #expect(listed.map(\.ends) == listed.map(\.ends).sorted(by: >))
        #expect(Set(listed.map(\.id)).isSubset(of: ids))
    }

    @Test func pagesGoOnRightAcrossEntriesThatAreRemovedOnTheWay() async throws {
        for number in 0..<20 {
            _ = try await sessions.create(userID: "u", ttl: number.isMultiple(of: 3) ? .seconds(1) : .seconds(100))
        }
        fixture.time.advance(by: .seconds(1))
        var listed: Set<SessionID> = []
        var cursor: String?
        repeat {
            let page = try await sessions.list(userID: "u", limit: 2, cursor: cursor)
            listed.formUnion(page.sessions.map(\.id))
            cursor = page.cursor
        } while cursor != nil
        #expect(listed.count == 13)
    }

    @Test(arguments: ["", "x", "1", "1-", "-1-2", "1-2-3", "0-1", "9999999999999999999-1"])
    func aForeignCursorIsRefused(_ cursor: String) async throws {
        let error = await #expect(throws: StoreError.self) { try await sessions.list(userID: "u", cursor: cursor) }
        #expect(error?.field == "cursor")
    }

    @Test func revokingAllEndsEverySessionOfThatUserAlone() async throws {
        for _ in 0..<450 { _ = try await sessions.create(userID: "u") }
        let other = try await sessions.create(userID: "v")
        let kept = try await sessions.create(userID: "u")
        #expect(try await sessions.revokeAll(userID: "u", keeping: kept.id).value == 450)
        #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [kept.id])
        #expect(try await sessions.revokeAll(userID: "u").value == 1)
        #expect(try await sessions.count(userID: "u").value == 0)
        #expect(try await sessions.get(other.id).value != nil)
        #expect(try await sessions.revokeAll(userID: "nobody").value == 0)
    }

    @Test func usersWithCuriousNamesDoNotMix() async throws {
        let names = ["a", "a:b", "a%3Ab", "{a}", "ä", "a\n", "*"]
        for name in names { _ = try await sessions.create(userID: name) }
        for name in names {
            #expect(try await sessions.list(userID: name).sessions.map(\.userID) == [name])
            #expect(try await sessions.revokeAll(userID: name).value == 1)
        }
    }

    @Test func cleaningUpRemovesWhatBelongsToNoSession() async throws {
        for user in 0..<30 {
            _ = try await sessions.create(userID: "user\(user)", ttl: .seconds(10))
            if user.isMultiple(of: 3) { _ = try await sessions.create(userID: "user\(user)") }
        }
        _ = try await sessions.scoped(to: "other").create(userID: "x", ttl: .seconds(10))
        fixture.time.advance(by: .seconds(10))
        #expect(try await sessions.cleanup() == Sessions.Cleanup(indexes: 30, removed: 30, live: 10))
        #expect(try await sessions.cleanup() == Sessions.Cleanup(indexes: 10, removed: 0, live: 10))
    }

    @Test func cleaningUpIsRepeated() async throws {
        _ = try await sessions.create(userID: "u", ttl: .seconds(10))
        _ = try await sessions.create(userID: "u")
        let (sessions, store, index) = (sessions, fixture.store, index)
        let loop = Task { await sessions.run() }
        await fixture.time.advanceUntil(by: .seconds(300)) { fixture.time.uptime >= .seconds(600) }
        for _ in 0..<100_000 where try await store(.zcard(index)) == 2 { await Task.yield() }
        #expect(try await store(.zcard(index)) == 1)
        loop.cancel()
        await loop.value
    }

    // MARK: - Another id

    @Test func rotatingKeepsTheSessionAndKillsTheOldID() async throws {
        let old = try await sessions.create(
            userID: "u", workspaceID: "w", kind: .conversation, data: ["a": 1], ttl: .seconds(100), absoluteTTL: .seconds(150),
            userAgent: "x")
        try await sessions.append([NewSessionMessage(role: "user", content: "hi")], to: old.id)
        fixture.time.advance(by: .seconds(50))
        let new = try await sessions.rotate(old.id)
        #expect(new.id != old.id)
        #expect(try await sessions.get(old.id).value == nil)
        #expect(try await sessions.get(new.id, touch: false).value == new)
        #expect(new.data == ["a": 1])
        #expect(new.messages.map(\.content) == ["hi"])
        #expect(new.created == old.created)
        #expect(new.ends == old.ends)
        #expect(new.version == 3)
        #expect(try await sessions.list(userID: "u").sessions.map(\.id) == [new.id])
        #expect(try await sessions.append([NewSessionMessage(role: "user", content: "2")], to: new.id).messages.count == 2)
        await #expect(throws: StoreError.self) { try await sessions.rotate(old.id) }
    }

    @Test func noChangeIsLostToARotation() async throws {
        let sessions = sessions
        for _ in 0..<20 {
            let id = try await sessions.create(userID: "u").id
            let rotation = Task { try await sessions.rotate(id) }
            var survived: [String] = []
            for number in 0..<10 {
                // Once the old id is gone, changes are refused and the caller knows.
                if (try? await sessions.update(id, set: ["f\(number)": 1])) != nil { survived.append("f\(number)") }
                await Task.yield()
            }
            let new = try await rotation.value
            let session = try #require(try await sessions.get(new.id).value)
            #expect(session.data.keys.sorted() == survived)
        }
    }

    @Test func aSessionThatIsRevokedWhileItIsRotatedIsGone() async throws {
        let sessions = sessions
        for _ in 0..<50 {
            let id = try await sessions.create(userID: "u").id
            let rotation = Task { try await sessions.rotate(id) }
            await Task.yield()
            let wasThere = try await sessions.delete(id).value
            let new = try? await rotation.value
            #expect(wasThere == (new == nil), "either it was ended, or it was there under its new id already")
            #expect(try await sessions.count(userID: "u").value == (new == nil ? 0 : 1))
            try await sessions.revokeAll(userID: "u")
        }
    }
}
