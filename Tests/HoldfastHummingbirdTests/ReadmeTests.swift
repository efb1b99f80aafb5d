import HTTPTypes
import Holdfast
import HoldfastHummingbird
import Hummingbird
import HummingbirdTesting
import Testing

/// The README's Swift for Hummingbird, compiled and run. `DocumentedSwiftTests` compares it with the README.
@Suite struct ReadmeTests {
    /// That of somebody's application, which knows whose request it is.
    private struct AppContext: RequestContext {
        var coreContext: CoreRequestContextStorage
        let user = "ann"

        init(source: Source) { coreContext = .init(source: source) }
    }

    @Test func theExampleOfTheReadmeWorks() async throws {
        let state = AgentState.embedded()
        let router = Router(context: AppContext.self)
        // begin README.md
        router.add(middleware: RateLimitMiddleware(state.limits) { _, context in .user(context.user) })
        // end README.md
        router.get("/") { _, _ in "hello" }
        let limit = try #require(HTTPField.Name("X-RateLimit-Limit"))
        try await Application(router: router).test(.router) { client in
            let answer = try await client.execute(uri: "/", method: .get, headers: [:])
            #expect(answer.status == .ok && answer.headers[limit] != nil)
        }
    }
}
