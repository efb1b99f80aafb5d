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
        if findings[0].state != .wrong { findings += await ServerExamination(store: store, prefix: prefix).findings() }
        await store.shutdown()
        return findings
    }

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
}
