import Holdfast
import HoldfastStore
import Logging

/// Says when the server goes away, what becomes of calls meanwhile, and when it is back.
struct OutageLog: Sendable {
    let store: String
    let cache: OutageBehavior
    let sessions: OutageBehavior
    let limits: RateLimiter.OutageBehavior
    let logger: Logger

    init(_ configuration: HoldfastConfiguration, logger: Logger) {
        store = configuration.storeDescription
        cache = configuration.cache.outage
        sessions = configuration.sessions.outage
        limits = configuration.limits.outage
        self.logger = logger
    }

    @Sendable func note(_ status: Failover.Status) {
        switch status {
        case .embedded: break
        case .local(let since):
            logger.warning(
                departure,
                metadata: [
                    "store": "\(store)", "away.since": "\(since.rfc3339)", "outage.cache": "\(cache.rawValue)",
                    "outage.sessions": "\(sessions.rawValue)", "outage.limits": "\(limits.rawValue)",
                ])
        case .server: logger.notice("the server is back", metadata: ["store": "\(store)"])
        case .refused(let error):
            logger.error(
                "the server refused us; not ready until it accepts",
                metadata: ["store": "\(store)", "error.code": "\(error.code)"])
        }
    }

    private var departure: Logger.Message {
        switch (cache, sessions, limits) {
        case (.local, .local, .local): "the server cannot be reached; deciding in this process"
        // What only removes or ends something is taken all the same.
        case (.closed, .closed, .closed): "the server cannot be reached; calls that need it are refused"
        default: "the server cannot be reached; deciding in this process what the settings leave to it"
        }
    }
}
