import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

/// What the near cache makes of a server's word, without a server and with a clock that stands still.
@Suite struct NearCoherenceTests {
    private let time = ManualTime()
    private let near: NearCache
    private let scope = CacheScope(
        place: CachePlace(namespace: Namespace(prefix: "p:"), workspace: "w"), category: nil, counter: 0)
    private let ours = ChangeCoverage.prefixes(["p:cache:"])

    init() {
        near = NearCache(NearCacheConfiguration(ttl: .seconds(5), trackedTTL: .seconds(60)), time: time)
    }

    private func put(_ origin: NearCache.Origin = .read, ticket: NearCache.Ticket? = nil) {
        let ticket = ticket ?? near.ticket(scope, "k")
        near.put(1, scope, "k", size: 1, life: nil, grace: .zero, ticket: ticket, from: origin)
    }

    private var isServed: Bool { near.find(scope, "k", ObjectIdentifier(Int.self)) != nil }

    @Test func withoutTrackingAValueHasItsShortTime() {
        put()
        time.advance(by: .milliseconds(4999))
        #expect(isServed)
        time.advance(by: .milliseconds(1))
        #expect(!isServed)
        #expect(near.coherence == .timed)
    }

    @Test func withTrackingAValueIsServedAsLongAsAllIsConfirmed() {
        near.trust(ours, elapsed: .seconds(1))
        put()
        time.advance(by: .milliseconds(3999))
        #expect(isServed)
        time.advance(by: .milliseconds(1))
        #expect(!isServed, "the moment that was confirmed is 5 s ago")
        // The word was late, and it is still good: no connection was lost.
        near.confirm(elapsed: .zero)
        #expect(isServed)
        for _ in 0..<55 {
            time.advance(by: .seconds(1))
            near.confirm(elapsed: .zero)
            #expect(isServed)
        }
        time.advance(by: .seconds(1))
        near.confirm(elapsed: .zero)
        #expect(!isServed, "its own time of 60 s has ended")
    }

    @Test func afterALossNothingIsServedUntilTrackingIsBack() {
        near.trust(ours, elapsed: .zero)
        put()
        near.distrust()
        #expect(!isServed && near.coherence == .interrupted)
        // A word that was on its way when the connection was lost.
        near.confirm(elapsed: .zero)
        #expect(!isServed)
        put()
        #expect(!isServed)
        #expect(near.findUsable(scope, "k", as: Int.self)?.value == 1, "for when the server is away")
        near.trust(ours, elapsed: .zero)
        #expect(!isServed && near.findUsable(scope, "k", as: Int.self) == nil, "it may have changed meanwhile")
        put()
        #expect(isServed && near.coherence == .tracked)
    }

    @Test func aServerThatDoesNotTellLeavesTheShortTime() {
        near.trust(ours, elapsed: .zero)
        put()
        near.distrust()
        near.doWithoutTracking()
        #expect(!isServed && near.coherence == .timed)
        put()
        time.advance(by: .milliseconds(4999))
        #expect(isServed)
        time.advance(by: .milliseconds(1))
        #expect(!isServed)
    }

    @Test func whatIsReadWhileTrackingBeginsOrEndsIsNotKept() {
        for change in [
            { near.trust(ours, elapsed: .zero) }, { near.voidTickets() }, { near.distrust() },
            { near.trust(ours, elapsed: .zero) },
        ] {
            let ticket = near.ticket(scope, "k")
            change()
            put(ticket: ticket)
            #expect(!isServed)
        }
    }

    @Test func whatIsNotToldOfHasItsShortTimeOnly() {
        for (coverage, origin, isTold) in [
            (ours, .read, true), (ours, .written, true), (ours, .local, false), (.prefixes(["p:t:a:cache:"]), .read, false),
            (.reads, .read, true), (.reads, .written, false), (.reads, .local, false),
        ] as [(ChangeCoverage, NearCache.Origin, Bool)] {
            near.trust(coverage, elapsed: .zero)
            put(origin)
            let isKept = isTold || coverage != .reads || origin == .local
            #expect(isServed == isKept, "\(coverage) \(origin)")
            time.advance(by: .milliseconds(5000))
            near.confirm(elapsed: .zero)
            #expect(isServed == isTold, "\(coverage) \(origin)")
        }
    }

    @Test func entriesAreKnownByTheirKeys() throws {
        let names = Namespace(prefix: "p:")
        for (namespace, workspace, name) in [
            (names, "default", "user:1"), (names, "a:b", ""), (names.scoped(to: "t:x"), "w", "é{%}:\n"),
            (names.scoped(to: "cache"), "t", "cache"),
        ] {
            let place = CachePlace(namespace: namespace, workspace: workspace)
            let key = place.entry(name)
            let entry = try #require(CachePlace.entry(of: key, prefix: "p:"))
            #expect(entry.place == place && entry.name == name)
            #expect(key.bytes.starts(with: CachePlace.head(of: namespace)))
            #expect(CachePlace.entry(of: CachePlace.lease(of: key), prefix: "p:") == nil)
        }
        for key in [
            "p:", "p:cache", "p:cache:w", "p:cache:w:a:b", "p:session:1", "q:cache:w:a", "p:t:a:session:1", "p:t:a",
            "p:cache:%:a", "p:cache:w:%",
        ] {
            #expect(CachePlace.entry(of: Key(raw: Bytes(key)), prefix: "p:") == nil, "\(key)")
        }
    }
}

extension NearCache.Origin {
    static let read = Self(.server, isRead: true)
    static let written = Self(.server, isRead: false)
    static let local = Self(.local(since: Timestamp(milliseconds: 0)), isRead: false)
}
