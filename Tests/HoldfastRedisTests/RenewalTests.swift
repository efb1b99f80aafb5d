import HoldfastStore
import NIOPosix
import TestServers
import Testing

@testable import HoldfastRedis

/// A connection that is left for another again and again, also while that one is still being made.
@Suite struct RenewalTests {
    @Test func answersStayWithTheirCallersWhateverIsRenewed() async throws {
        let server = try await SharedRedis.server()
        let configuration = try await SharedRedis.configuration().patient
        let connector = try Connector(configuration, to: .fixed(.unixSocket(path: server.socketPath)))
        let connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        let prefix = "renewal-\(UInt64.random(in: .min ... .max))"
        let wrong = try await withThrowingTaskGroup(of: [String].self) { group in
            for caller in 0..<16 {
                group.addTask {
                    var wrong: [String] = []
                    for call in 0..<300 {
                        let text = Bytes("\(prefix)-\(caller)-\(call)")
                        switch await connection.one({ $0.command(["ECHO", text]) }) {
                        case .success(let reply): if reply.bytes != text { wrong.append("\(text) was answered \(reply)") }
                        // What was under way when a connection was left at once.
                        case .failure(let error): if error.code != .connectionLost { wrong.append("\(error)") }
                        }
                    }
                    return wrong
                }
            }
            group.addTask {
                for number in 0..<100 {
                    connection.renew(isGraceful: number.isMultiple(of: 2))
                    // Every other one meets the attempt of the one before.
                    if number.isMultiple(of: 3) { _ = await connection.one { $0.command(["PING"]) } }
                }
                return []
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(wrong == [])
        await connection.close()
    }

    @Test func aGracefulRenewalLosesNothing() async throws {
        let server = try await SharedRedis.server()
        let configuration = try await SharedRedis.configuration().patient
        let connector = try Connector(configuration, to: .fixed(.unixSocket(path: server.socketPath)))
        let connection = Connection(connector, on: MultiThreadedEventLoopGroup.singleton.next())
        func identity() async throws -> Int64? { try await connection.one { $0.command(["CLIENT", "ID"]) }.get().integer }
        let first = try await identity()
        connection.renew(isGraceful: true)
        #expect(try await identity() != first)
        await connection.close()
    }
}
