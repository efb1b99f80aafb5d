/// How an ``UpstashStore`` reaches its endpoint and how patient it is.
public struct UpstashConfiguration: Sendable {
    /// TLS towards an `https://` URL. The certificate's name is the URL's host: HTTP has no other.
    public struct TLS: Hashable, Sendable {
        public enum Verification: String, Hashable, Sendable {
            /// The certificate is not looked at: only against eavesdroppers. Whoever sits on the way can have the token.
            case none
            /// The certificate must be valid and trusted, of whatever host.
            case noHostname
            /// The certificate must be valid, trusted and of the URL's host.
            case full
        }

        public var verification = Verification.full
        /// A PEM file of the authorities to trust in place of the system's.
        public var authorityFile: String?
        /// A PEM file with the client's certificate and its chain, for endpoints that ask for one.
        public var certificateFile: String?
        /// A PEM file with the key of ``certificateFile``.
        public var keyFile: String?

        public init(
            verification: Verification = .full, authorityFile: String? = nil, certificateFile: String? = nil,
            keyFile: String? = nil
        ) {
            self.verification = verification
            self.authorityFile = authorityFile
            self.certificateFile = certificateFile
            self.keyFile = keyFile
        }
    }

    /// `UPSTASH_REDIS_REST_URL`: `https://…`, with or without a slash at its end. `http://` is for endpoints on this machine: the token
    /// would be readable on the way.
    public var url: String
    /// `UPSTASH_REDIS_REST_TOKEN`, or the read-only one.
    public var token: String
    /// Nil for the system's authorities and no client certificate.
    public var tls: TLS?
    /// How long a call waits for its answer, connecting included. The deadline of ``HoldfastStore/CallContext`` may be earlier.
    public var commandTimeout: Duration = .seconds(5)
    /// How long connecting may take, TLS included.
    public var connectTimeout: Duration = .seconds(5)
    /// Whether what only reads is sent once more when its answer was lost or did not come. A write never is.
    public var retriesOnTimeout = true
    /// Larger requests are refused before they are sent. Upstash's free and pay-as-you-go databases take 10 MB.
    public var maximumRequestBytes = 10 * 1024 * 1024
    /// Longer keys are refused before anything is sent. Upstash's limit is 32 KB.
    public var maximumKeyBytes = 32 * 1024
    /// Larger answers are an error, `too-large`; of a write, whose effect is then `unknown`. Nothing is sent again for it.
    public var maximumResponseBytes = 512 * 1024 * 1024
    /// Between attempts to listen again after a stream was lost: doubled from the first to the second, with jitter. It begins anew behind a
    /// stream that brought a message or lived for ten seconds.
    public var reconnectBackoff: ClosedRange<Duration> = .milliseconds(100)...(.seconds(2))

    /// A stream on which nothing came for so long, not even a heartbeat, is taken for lost and made again, with a gap. Longer than the
    /// endpoint's heartbeats are apart (Holdfast's: 15 s; Upstash documents none): with a shorter one a quiet channel has gaps.
    public var streamIdleLimit: Duration = .seconds(60)

    public init(url: String, token: String) {
        self.url = url
        self.token = token
    }
}
