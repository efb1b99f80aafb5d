import HoldfastStore

/// What to say to the server so that it permits what it has refused: the library's advice, with what is known here in its gaps.
struct Grant {
    /// As the server calls the user.
    let user: String
    let namespace: Namespace

    init(user: String, prefix: String) {
        self.user = user
        namespace = Namespace(prefix: prefix)
    }

    /// The patterns of the services' keys, of the keys that lie in another's slot, and of the channels.
    var keys: String { namespace.glob(startingWith: "").lossyString }
    var companions: String { "{" + keys }
    var channels: String { keys }

    /// The rules for commands, as `ACL SETUSER` has their names: `CLIENT|ID`.
    func commands(_ names: [String]) -> String {
        "ACL SETUSER \(user) " + names.map { "+\($0.lowercased())" }.joined(separator: " ")
    }

    /// An error's text for people.
    ///
    /// - Parameter key: the pattern of the keys that were used.
    func line(_ error: StoreError, key: String? = nil) -> String {
        error.message.replacing("<user>", with: user).replacing("~<pattern>", with: "~\(key ?? keys)")
            .replacing("&<pattern>", with: "&\(channels)")
    }

    /// Names as a sentence has them.
    static func list(_ names: [String]) -> String { names.map { $0.replacing("|", with: " ") }.joined(separator: ", ") }
}
