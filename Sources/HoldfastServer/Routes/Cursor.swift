import Crypto
import HoldfastStore

/// Where a list goes on: opaque for clients, bound to its route, tenant and parameters, so that one of another list is refused.
///
/// It is no secret and gives no access: the binding guards against mistakes, not against forgery.
struct Cursor {
    let binding: String

    /// - Parameter parameters: whatever changes which elements the list has.
    init(_ call: Call, parameters: [String?]) {
        let parts = [call.route.name, call.context.tenant] + parameters
        binding = parts.map { $0.map { "\($0.utf8.count):\($0)" } ?? "-" }.joined(separator: ",")
    }

    func encode(_ state: String) -> String {
        let bytes = Array(state.utf8)
        return Base64URL.encode(bytes + checksum(bytes))
    }

    /// The state in a cursor that ``encode(_:)`` made for the same list.
    func decode(_ text: String) throws(StoreError) -> String {
        guard let bytes = Base64URL.decode(text), bytes.count >= Self.checksumLength else { throw mistake }
        let state = Array(bytes.dropLast(Self.checksumLength))
        guard checksum(state) == Array(bytes.suffix(Self.checksumLength)), let state = String(validating: state, as: UTF8.self)
        else {
            throw mistake
        }
        return state
    }

    private static let checksumLength = 8

    private func checksum(_ state: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: Array(binding.utf8) + [0] + state).prefix(Self.checksumLength))
    }

    private var mistake: StoreError { .invalid("cursor", "It is no cursor of this list with these parameters") }
}
