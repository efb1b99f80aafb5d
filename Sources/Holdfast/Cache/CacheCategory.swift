/// A named group of entries with a TTL of its own, such as `outbreak_data` with five minutes.
///
/// The entry `k` of the category `c` is the entry `c:k` of the workspace, so a pattern such as `c:*` reaches it too.
public struct CacheCategory: Hashable, Sendable {
    public let name: String
    public let ttl: Duration

    /// - Parameter name: letters, digits, `_`, `-` and `.`; checked where a cache is configured with it or asked for it.
    public init(_ name: String, ttl: Duration) {
        self.name = name
        self.ttl = ttl
    }

    var isValid: Bool {
        !name.isEmpty && name.utf8.count <= 64
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}

extension CacheCategory {
    public static let outbreakData = CacheCategory("outbreak_data", ttl: .seconds(300))
    public static let riskAssessment = CacheCategory("risk_assessment", ttl: .seconds(600))
    public static let predictionResults = CacheCategory("prediction_results", ttl: .seconds(3600))
    public static let locationMetadata = CacheCategory("location_metadata", ttl: .seconds(86_400))
    public static let agentMemory = CacheCategory("agent_memory", ttl: .seconds(3600))
    public static let modelInference = CacheCategory("model_inference", ttl: .seconds(1800))

    /// The six of the reference systems.
    public static let presets: [CacheCategory] = [
        .outbreakData, .riskAssessment, .predictionResults, .locationMetadata, .agentMemory, .modelInference,
    ]
}
