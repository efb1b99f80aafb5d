import HoldfastStore

/// The password in a file, or, where the file cannot be read any more, the last one that it held: whoever has the server's password goes on
/// when a secret manager takes its file away.
final class LastPassword: Sendable {
    private struct State {
        var password: String
        /// Whether the file could not be read when it was last looked at.
        var isLost = false
    }

    let file: PasswordFile
    private let state: Locked<State>
    private let whenLost: @Sendable (StoreError) -> Void

    /// - Parameter whenLost: told once each time that the file cannot be read any more.
    /// - Throws: what is wrong with the file. At the start there is no password to go on with.
    init(_ file: PasswordFile, whenLost: @escaping @Sendable (StoreError) -> Void) throws(StoreError) {
        self.file = file
        self.whenLost = whenLost
        state = Locked(State(password: try file.read()))
    }

    func read() -> String {
        do throws(StoreError) {
            let password = try file.read()
            state.withLock { $0 = State(password: password) }
            return password
        } catch {
            let (password, isNews) = state.withLock { state in
                defer { state.isLost = true }
                return (state.password, !state.isLost)
            }
            if isNews { whenLost(error) }
            return password
        }
    }
}
