import HTTPTypes
import HoldfastStore

/// All routes, found by path and method.
///
/// A tree of path segments; a literal segment goes before a place, so `/sessions/search` would win over `/sessions/{id}`. Cost of
/// finding: one dictionary look-up for each segment.
struct RouteTable: Sendable {
    enum Match: Sendable {
        /// A value is nil where its percent-encoding stands for no text.
        case found(Route, parameters: [String: String?])
        /// The path exists, with these methods.
        case wrongMethod(allowed: [HTTPRequest.Method])
        case unknown
    }

    private struct Node: Sendable {
        var literals: [String: Node] = [:]
        /// At most one: the places at the same point of two paths share it, whatever their names.
        var place: [Node] = []
        var routes: [HTTPRequest.Method: Route] = [:]
    }

    let routes: [Route]
    private var root = Node()

    init(_ routes: [Route]) {
        self.routes = routes
        for route in routes { Self.insert(route, route.path.segments[...], into: &root) }
    }

    private static func insert(_ route: Route, _ rest: ArraySlice<RoutePath.Segment>, into node: inout Node) {
        guard let segment = rest.first else {
            precondition(node.routes[route.method] == nil, "Two routes for \(route.method) \(route.path)")
            node.routes[route.method] = route
            return
        }
        switch segment {
        case .literal(let text): insert(route, rest.dropFirst(), into: &node.literals[text, default: Node()])
        case .parameter:
            if node.place.isEmpty { node.place.append(Node()) }
            insert(route, rest.dropFirst(), into: &node.place[0])
        }
    }

    /// - Parameter path: as it came, percent-encoded, without the query. An encoded slash is part of its segment.
    func match(_ method: HTTPRequest.Method, _ path: Substring) -> Match {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard path.first == "/", segments.count <= 16 else { return .unknown }
        let decoded = segments.map { PercentEncoding.decode($0) }
        guard let node = Self.find(decoded[...], in: root) else { return .unknown }
        // HEAD is GET without the body, wherever GET is.
        if let route = node.routes[method] ?? (method == .head ? node.routes[.get] : nil) {
            return .found(route, parameters: Self.parameters(route, decoded))
        }
        let methods = node.routes.keys.map(\.rawValue) + (node.routes[.get] == nil ? [] : ["HEAD"])
        return .wrongMethod(allowed: methods.sorted().compactMap { HTTPRequest.Method($0) })
    }

    private static func find(_ rest: ArraySlice<String?>, in node: Node) -> Node? {
        guard let segment = rest.first else { return node.routes.isEmpty ? nil : node }
        if let segment, let next = node.literals[segment], let found = find(rest.dropFirst(), in: next) { return found }
        // An empty segment is no value: `/keys/` is not `/keys/{key}`.
        guard segment != "", let next = node.place.first else { return nil }
        return find(rest.dropFirst(), in: next)
    }

    private static func parameters(_ route: Route, _ segments: [String?]) -> [String: String?] {
        var parameters: [String: String?] = [:]
        for (segment, value) in zip(route.path.segments, segments) {
            if case .parameter(let name) = segment { parameters.updateValue(value, forKey: name) }
        }
        return parameters
    }
}
