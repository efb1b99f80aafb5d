import HoldfastStore
import HoldfastTesting
import Testing

@testable import Holdfast

@Suite struct ServerClockTests {
    private let time = ManualTime()
    private let clock: ServerClock

    init() { clock = ServerClock(time) }

    /// A call that takes so long, and is carried out as soon as it is sent, by a server that is ahead by so much.
    private func call(taking span: Duration, lead: Duration) {
        let (sent, server) = (time.uptime, time.now + lead)
        time.advance(by: span)
        clock.heard(server, sent: sent)
    }

    private var lead: Duration { clock.now - time.now }

    @Test func aSlowReplyDoesNotMakeItLate() {
        call(taking: .seconds(3), lead: .zero)
        #expect(lead == .zero)
    }

    @Test func itFollowsTheServerByAtMostTheTimeThatACallTook() {
        call(taking: .milliseconds(20), lead: .seconds(120))
        #expect((.milliseconds(119_980)...(.seconds(120))).contains(lead))
        call(taking: .seconds(3), lead: .seconds(120))
        #expect((.milliseconds(119_980)...(.seconds(120))).contains(lead))
        call(taking: .milliseconds(20), lead: .seconds(-60))
        #expect((.milliseconds(-60_020)...(.seconds(-60))).contains(lead))
    }

    @Test func itGoesOnWhereThisProcessesClockIsSet() {
        call(taking: .zero, lead: .seconds(120))
        let server = clock.now
        time.stepWallClock(by: .seconds(-3600))
        #expect(clock.now == server)
        time.advance(by: .seconds(5))
        #expect(clock.now == server + .seconds(5))
    }
}
