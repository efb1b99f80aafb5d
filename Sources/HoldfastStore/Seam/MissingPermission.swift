/// What a server's user may not do, read from the line in which the server says so, and what to change there.
///
/// Redis 7.0 names the command alone; from 7.2 on also the user, and in the log that `ACL LOG` shows, each the key or channel.
struct MissingPermission {
    /// What the server said, without the name of a key or channel: none that has been seen says it to a caller, and it may hold a
    /// session's id.
    let line: String

    /// - Returns: nil where the line is about something else.
    init?(_ reply: ReplyError) {
        // Redis 7.0 says ERR of what a script may not do.
        guard reply.prefix == "NOPERM" || reply.line.hasPrefix("ERR The user executing the script can't ") else { return nil }
        line = Self.withoutName(reply.line)
    }

    private static func withoutName(_ line: String) -> String {
        guard let start = line.firstRange(of: " access the '")?.upperBound else { return line }
        let end = ["' key", "' channel"].lazy.compactMap { line[start...].ranges(of: $0).last?.lowerBound }.first
        return "\(line[..<start])…\(line[(end ?? line.endIndex)...])"
    }

    /// One sentence for people, to stand behind the line.
    var advice: String {
        if let command { return "Grant it on the server: ACL SETUSER \(user) +\(command)" }
        if has("command or subcommand") {
            return "Grant the command on the server (ACL LOG names it): ACL SETUSER \(user) +<command>"
        }
        if has("channel") {
            return "Grant the channel on the server (ACL LOG names it): ACL SETUSER \(user) &<pattern>"
        }
        if has(" key") { return "Grant the key on the server (ACL LOG names it): ACL SETUSER \(user) ~<pattern>" }
        return "Grant it with ACL SETUSER on the server, or connect as another user"
    }

    /// As ACL SETUSER names it, such as `config|set`.
    private var command: Substring? { between("to run the '", "'") }

    private var user: Substring { between("User ", " ") ?? "<user>" }

    private func has(_ text: String) -> Bool { line.firstRange(of: text) != nil }

    private func between(_ start: String, _ end: Character) -> Substring? {
        guard let start = line.firstRange(of: start) else { return nil }
        let rest = line[start.upperBound...]
        return rest.firstIndex(of: end).map { rest[..<$0] }.flatMap { $0.isEmpty ? nil : $0 }
    }
}
