import Foundation
import Holdfast
import HoldfastStore
import TestServers
import Testing

/// What `serve` says where its user of a real Redis may not do what a request needs.
@Suite struct PermissionRouteTests {
    private func answer(_ url: String, _ method: String, _ path: String, _ body: String = "") async throws -> RawAnswer {
        let connection = try await RawConnection.open(port: try #require(url.split(separator: ":").last.flatMap { Int($0) }))
        await connection.send(
            "\(method) /api/v1/\(path) HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer root\r\nConnection: close\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        try await connection.wait()
        let answer = RawAnswer.all(in: connection.received).last
        await connection.close()
        return try #require(answer)
    }

    @Test func aMissingPermissionSaysWhatToGrantAndIsLoggedOnce() async throws {
        var options = RedisProcess.Options()
        options.users = ["user app on >pw ~holdfast:* &* +@all -get"]
        let redis = try await RedisProcess.start(options)
        defer { redis.stop() }
        let holdfast = try CommandLineProgram()
        let environment = [
            "REDIS_URL": "redis://app:pw@127.0.0.1:\(redis.port)", "HOLDFAST_API_KEYS": "boss:admin:root",
            "REDIS_SOCKET_TIMEOUT": "60s", "REDIS_SOCKET_CONNECT_TIMEOUT": "60s",
        ]
        let id = "0f3b1c52-9f0e-4b51-8a47-2f4a6f1f7a10"
        try await holdfast.serving(environment: environment) { (server, url) async throws in
            for number in 0..<3 {
                // A command: its name, and the rule that grants it.
                let command = try await answer(url, "GET", "cache/entries/w/key-\(number)")
                #expect(command.status == 503 && command.json["code"] == "permission-missing", "\(command)")
                let detail = command.json["detail"]?.string ?? ""
                #expect(detail.contains("'get'") && detail.contains("+get"), "\(detail)")
                // A key: which one is not told.
                let key = try await answer(url, "GET", "sessions/\(id)")
                #expect(key.status == 503 && key.json["code"] == "permission-missing", "\(key)")
                let text = key.json["detail"]?.string ?? ""
                #expect(text.hasPrefix("NOPERM ") && text.contains("~<pattern>") && !text.contains(id), "\(text)")
            }
            let warnings = server.complaints.split(separator: "\n").filter { $0.contains("may not do what is asked of it") }
            #expect(warnings.count == 2, "\(server.complaints)")
            #expect(warnings.count { $0.contains("+get") } == 1 && warnings.count { $0.contains("~<pattern>") } == 1)
            #expect(warnings.allSatisfy { !$0.contains(id) && !$0.contains("key-0") })
        }
    }
}
