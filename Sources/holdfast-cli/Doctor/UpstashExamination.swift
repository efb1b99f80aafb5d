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
        do { store = try UpstashStore(configuration) } catch {
            return [.wrong("REST", "UPSTASH_REDIS_REST_\(error.field == "token" ? "TOKEN" : "URL"): \(error.message)")]
        }
        var findings = [await endpoint(store)]
        if findings[0].state != .wrong {
            findings += [await canary(store), await script(store), await channels(store), Self.nearCache]
        }
        await store.shutdown()
        return findings
    }

    private static let nearCache = NearCacheExamination.timed("REST has nobody who tells of changes")

    private func endpoint(_ store: UpstashStore) async -> Finding {
        do {
            try await store(.ping)
            return .right("REST", "\(configuration.url) answers and accepts the token")
        } catch {
            let advice =
                error.code == .connectionFailed || error.code == .timeout
                ? ": check UPSTASH_REDIS_REST_URL, and that this machine may reach it" : ""
            return .wrong("REST", error.message + advice)
        }
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

    private func script(_ store: UpstashStore) async -> Finding {
        do {
            _ = try await store(.raw("EVAL", "return 1", "0"))
            return .right("Scripts", "Lua may be run")
        } catch { return .wrong("Scripts", "\(error.message): limits and sessions need Lua") }
    }
}
