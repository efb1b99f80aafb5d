/// Waits until the condition holds, asking every few milliseconds.
///
/// - Parameter limit: generous, because it only ends a test that has failed: on a crowded machine a pause takes as long as it takes.
/// - Throws: when the condition does not hold within the limit; the error names what was waited for.
public func eventually(
    within limit: Duration = .seconds(60), _ what: String, _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + limit
    repeat {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    } while ContinuousClock.now < end
    // The last pause may have outlasted the limit.
    guard try await condition() else { throw TestServerError("not within \(limit): \(what)") }
}
