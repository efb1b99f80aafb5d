import HoldfastServer
import HoldfastStore
import HoldfastUpstash

/// Checks a REST endpoint from the outside in: whether it is there and speaks the protocol, whether it accepts the token, and then what a
/// server is asked.
struct UpstashExamination {
    let configuration: UpstashConfiguration
    let prefix: String

    func findings() async -> [Finding] {
        var configuration = configuration
        configuration.retriesOnTimeout = false
        let store: UpstashStore
        do { store = try UpstashStore(configuration) } catch { return [.wrong("REST", Self.line(error.namingSettings()))] }
        var findings = [await endpoint(store)]
        if findings[0].state != .wrong {
            if let version = await version(store) { findings.append(version) }
            findings += [await canary(store), await script(store), await channels(store), Self.nearCache]
        }
        await store.shutdown()
        return findings
    }

    /// What is wrong with a setting, with its name.
    private static func line(_ error: StoreError) -> String {
        switch error.field {
        case "token"?: "UPSTASH_REDIS_REST_TOKEN: \(error.message)"
        case let setting? where setting.hasPrefix("REDIS_"): "\(setting): \(error.message)"
        default: "UPSTASH_REDIS_REST_URL: \(error.message)"
        }
    }

    private static let nearCache = NearCacheExamination.timed("REST has nobody who tells of changes")

    private func endpoint(_ store: UpstashStore) async -> Finding {
        do {
            try await store(.ping)
            return .right("REST", "\(configuration.url) answers and accepts the token")
        } catch {
            let advice =
                [.connectionFailed, .connectionLost, .timeout].contains(error.code)
                ? ": check UPSTASH_REDIS_REST_URL, and that this machine may reach it" : ""
            return .wrong("REST", error.namingSettings().message + advice)
        }
    }

    /// What it says of itself; nil where it does not, or not to this token.
    private func version(_ store: UpstashStore) async -> Finding? {
        guard let info = try? await store(.info()) else { return nil }
        let facts = ServerExamination.facts(info)
        let known: [(name: String, text: Substring?)] = [
            ("Upstash", facts["upstash_version"]), ("Valkey", facts["valkey_version"]), ("Redis", facts["redis_version"]),
        ]
        let said = known.compactMap { name, text in text.map { "\(name) \($0)" } }
        return said.isEmpty ? nil : .right("Version", "the endpoint says \(said.joined(separator: ", "))")
    }

    private let token = String(UInt64.random(in: .min ... .max), radix: 36)

    /// Writes, reads and deletes keys of both forms under the prefix, as the services do.
    private func canary(_ store: UpstashStore) async -> Finding {
        let main = Namespace(prefix: prefix).key("doctor:\(token)")
        for key in [main, main.companion("doctor")] {
            do {
                let text = Bytes("canary")
                try await store(.set(key, text, expiration: .after(.seconds(10))))
                let found = try await store(.get(key))
                _ = try await store(.unlink([key]))
                if found != text { return .wrong("Write", "what was written to \(key) was not read back: is this a replica?") }
            } catch { return .wrong("Write", error.message) }
        }
        return .right("Write", "keys under \(prefix) and {\(prefix) can be written, read and deleted")
    }

    /// Listens, and publishes.
    private func channels(_ store: UpstashStore) async -> Finding {
        let channel = Namespace(prefix: prefix).channel("doctor:\(token)")
        do {
            try await store.withSubscription(to: [.channel(channel)]) { _ in _ = try await store(.publish(channel, "canary")) }
            return .right("Channels", "those under \(prefix) can be published to and listened to")
        } catch { return .wrong("Channels", (error as? StoreError)?.message ?? "\(error)") }
    }

    /// The first lines of the services' scripts: of those that may store more, and of those that run also where memory is full.
    private static let headers = ["#!lua", "#!lua flags=allow-oom"]

    private func script(_ store: UpstashStore) async -> Finding {
        var refused: [String] = []
        var reason = ""
        for header in Self.headers {
            do { _ = try await store(.raw("EVAL", Bytes("\(header)\nreturn 1"), "0")) } catch {
                refused.append("`\(header)`")
                reason = error.message
            }
        }
        guard refused.isEmpty else {
            return .wrong(
                "Scripts",
                "scripts that begin with \(refused.joined(separator: " or ")) are refused (\(reason)): limits and sessions need Lua"
            )
        }
        return .right("Scripts", "Lua may be run, as the services' scripts begin: \(Self.headers.joined(separator: "; "))")
    }
}
