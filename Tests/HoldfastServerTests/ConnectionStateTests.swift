import NIOCore
import NIOHTTP1
import Testing

@testable import HoldfastServer

/// A connection as a value: what it waits for while an answer is being made.
@Suite struct ConnectionStateTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let limits = ConnectionLimits()

    /// Has one request whose answer is being made.
    private func busy(_ headers: HTTPHeaders = ["Host": "x"]) -> ConnectionState {
        var state = ConnectionState(limits: limits, now: start)
        state.bytesArrived(now: start)
        let isHandedOn = state.headArrived(head(headers), now: start)
        #expect(isHandedOn)
        state.requestEnded(now: start)
        return state
    }

    private func head(_ headers: HTTPHeaders) -> HTTPRequestHead {
        HTTPRequestHead(version: .http1_1, method: .GET, uri: "/", headers: headers)
    }

    private func answer(_ state: inout ConnectionState, now: NIODeadline) -> ConnectionState.Action {
        _ = state.answerBegins(endsConnection: false)
        return state.answerEnded(now: now)
    }

    private func reason(_ action: ConnectionState.Action) -> Refusal.Reason? {
        if case .refuse(let refusal) = action { refusal.reason } else { nil }
    }

    private func isNone(_ action: ConnectionState.Action) -> Bool {
        if case .none = action { true } else { false }
    }

    private func isClose(_ action: ConnectionState.Action) -> Bool {
        if case .close = action { true } else { false }
    }

    @Test(arguments: [false, true]) func aSlowRequestBehindOneThatIsBeingAnsweredHasNoDeadlineAfterItsOwn(hasHead: Bool) throws {
        var state = busy()
        #expect(state.deadline == nil)
        state.bytesArrived(now: start)
        if hasHead {
            let isHandedOn = state.headArrived(head(["Host": "x", "Content-Length": "10"]), now: start)
            #expect(isHandedOn)
        }
        let deadline = try #require(state.deadline)
        #expect(deadline == start + limits.readTimeout)
        let expired = state.expire(now: deadline)
        #expect(isNone(expired))
        #expect(state.deadline == nil, "or the timer would ring at once, again and again")
        let again = state.expire(now: deadline + .hours(1))
        #expect(isNone(again))
        let end = deadline + .hours(2)
        let action = answer(&state, now: end)
        #expect(reason(action) == .tooSlow)
        #expect(state.deadline == end + limits.drainTime)
    }

    @Test func whatCannotBeReadBehindARequestThatIsBeingAnsweredHasNoDeadline() {
        var state = busy()
        state.bytesArrived(now: start)
        let failed = state.fail(.badHost, now: start)
        #expect(isNone(failed))
        #expect(state.deadline == nil)
        let action = answer(&state, now: start)
        #expect(reason(action) == .malformed)
        #expect(state.deadline == start + limits.drainTime)
    }

    @Test func whatComesBehindTheLastRequestHasNoDeadline() {
        var state = busy(["Host": "x", "Connection": "close"])
        #expect(state.ignoresInput)
        state.bytesArrived(now: start)
        let isHandedOn = state.headArrived(head(["Host": "x"]), now: start)
        #expect(!isHandedOn)
        #expect(state.deadline == nil)
        let failed = state.fail(.badHost, now: start)
        #expect(isNone(failed))
        let action = answer(&state, now: start)
        guard case .finish = action else {
            Issue.record("\(action)")
            return
        }
    }

    @Test func theBodyOfTheLastRequestIsReadInTime() {
        var state = ConnectionState(limits: limits, now: start)
        state.bytesArrived(now: start)
        let isHandedOn = state.headArrived(head(["Host": "x", "Connection": "close", "Content-Length": "10"]), now: start)
        #expect(isHandedOn && !state.ignoresInput)
        #expect(state.deadline == start + limits.readTimeout)
        let expired = state.expire(now: start + limits.readTimeout)
        #expect(reason(expired) == .tooSlow)
    }

    @Test(arguments: [false, true]) func whatNobodyLooksAtIsBoundedAlsoBeforeTheAnswer(isRefused: Bool) {
        var state = isRefused ? busy() : busy(["Host": "x", "Connection": "close"])
        if isRefused {
            state.bytesArrived(now: start)
            _ = state.fail(.badHost, now: start)
        }
        #expect(state.ignoresInput && !state.ignoresOutput)
        let bearable = state.discarded(limits.drainedBytes)
        #expect(isNone(bearable))
        let tooMuch = state.discarded(1)
        #expect(isClose(tooMuch))
        #expect(state.ignoresOutput && state.deadline == nil)
    }
}
