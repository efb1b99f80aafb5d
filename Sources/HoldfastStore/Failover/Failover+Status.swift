extension Failover {
    /// Who decides, and why.
    public enum Status: Sendable, Hashable {
        /// No server is configured: this process is the store.
        case embedded
        /// The configured server.
        case server
        /// This process, because the server has been away since then.
        case local(since: Timestamp)
        /// Nobody: the server refuses our credentials or configuration.
        case refused(StoreError)
    }

    /// What has happened since the process began.
    public struct Statistics: Sendable, Hashable {
        /// How often the server went away, and how often it came back.
        public var outages = 0
        public var returns = 0
        /// Calls and pings that failed for the server's sake, and those that took longer than ``Configuration/slowCall``.
        public var failures = 0
        public var slowCalls = 0
        /// Questions to the server whether it is there, and how many of them it did not answer well.
        public var probes = 0
        public var failedProbes = 0
        /// How often it began to refuse us.
        public var refusals = 0

        public init() {}
    }
}
