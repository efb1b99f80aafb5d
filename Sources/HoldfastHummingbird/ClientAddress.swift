public import HTTPTypes

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Whose address a request comes from: the connection's peer, or behind declared proxies the one that they name.
///
/// `X-Forwarded-For` is a claim that anybody can make. It is read from its end, as far as declared proxies vouch for it: the first
/// address from the right that is none of theirs is the client.
public struct ClientAddress: Sendable {
    private let proxies: [Network]

    /// - Parameter proxies: addresses and networks, such as `10.0.0.7` and `fd00::/8`. What is neither is left out.
    public init(proxies: [String] = []) { self.proxies = proxies.compactMap(Network.init) }

    /// The client's address; nil where neither a peer nor a trusted proxy names one.
    public func address(peer: String?, _ headers: HTTPFields) -> String? {
        guard let peer, isProxy(peer), let forwardedFor = HTTPField.Name("X-Forwarded-For") else { return peer }
        let claims = headers[values: forwardedFor].flatMap { $0.split(separator: ",") }
        var address = peer
        for claim in claims.reversed() {
            let text = claim.filter { $0 != " " && $0 != "\t" }
            // Behind a word that is no address nobody vouches for anything.
            guard Network.bytes(text) != nil else { break }
            address = text
            if !isProxy(text) { break }
        }
        return address
    }

    private func isProxy(_ address: String) -> Bool {
        guard let bytes = Network.bytes(address) else { return false }
        return proxies.contains { $0.contains(bytes) }
    }

    private struct Network: Sendable {
        let bytes: [UInt8]
        let bits: Int

        init?(_ text: String) {
            let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
            guard let bytes = parts.first.flatMap(Self.bytes) else { return nil }
            self.bytes = bytes
            guard parts.count == 2 else {
                bits = bytes.count * 8
                return
            }
            guard let bits = Int(parts[1]), (0...bytes.count * 8).contains(bits) else { return nil }
            self.bits = bits
        }

        func contains(_ other: [UInt8]) -> Bool {
            guard other.count == bytes.count else { return false }
            for (index, (left, right)) in zip(bytes, other).enumerated() {
                let rest = bits - index * 8
                if rest <= 0 { return true }
                let mask: UInt8 = rest >= 8 ? 0xFF : ~(0xFF >> UInt8(rest))
                if left & mask != right & mask { return false }
            }
            return true
        }

        /// The 4 or 16 bytes of an address; an IPv4 address in IPv6 form counts as IPv4.
        static func bytes(_ text: String) -> [UInt8]? {
            var four = [UInt8](repeating: 0, count: 4)
            if inet_pton(AF_INET, text, &four) == 1 { return four }
            var sixteen = [UInt8](repeating: 0, count: 16)
            guard inet_pton(AF_INET6, text, &sixteen) == 1 else { return nil }
            let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
            return sixteen.starts(with: mapped) ? Array(sixteen.suffix(4)) : sixteen
        }
    }
}
