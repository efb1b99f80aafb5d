import HoldfastStore
import NIOCore

/// Lets one task wait for a time that others may cut short. A ring before the wait is not lost.
final class Alarm: Sendable {
    private struct State {
        var hasRung = false
        var turn = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let eventLoop: any EventLoop
    private let state = Locked(State())

    init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func wait(atMost span: Duration) async {
        await withCheckedContinuation { (waiter: CheckedContinuation<Void, Never>) in
            let turn = state.withLock { state -> Int? in
                if state.hasRung {
                    state.hasRung = false
                    return nil
                }
                state.turn += 1
                state.waiter = waiter
                return state.turn
            }
            guard let turn else { return waiter.resume() }
            eventLoop.scheduleTask(in: .nanoseconds(span.clampedNanoseconds)) { self.wake(ifIn: turn) }
        }
    }

    func ring() {
        let waiter = state.withLock { state in
            defer { state.waiter = nil }
            state.hasRung = state.waiter == nil
            return state.waiter
        }
        waiter?.resume()
    }

    private func wake(ifIn turn: Int) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.turn == turn else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}
