import Foundation
import HoldfastRedis

/// The Redis that `Benchmarks/run` has started, and `redis-benchmark` as the measure beside us.
enum RedisPeer {
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    static var socket: String {
        get throws {
            guard let path = ProcessInfo.processInfo.environment["HOLDFAST_BENCH_SOCKET"] else {
                throw Missing(description: "HOLDFAST_BENCH_SOCKET names no socket; call Benchmarks/run, which starts a Redis")
            }
            return path
        }
    }

    static func store() throws -> RedisStore {
        try RedisStore(RedisConfiguration(endpoint: .unixSocket(path: try socket)))
    }

    /// What redis-benchmark reaches with 32-byte GETs.
    static func getsPerSecond(connections: Int, pipeline: Int) throws -> Double {
        try perSecond(
            "GET",
            [
                "-s", try socket, "-c", "\(connections)", "-P", "\(pipeline)", "-d", "32", "-n",
                pipeline > 1 ? "400000" : "50000",
                "-t", "get",
            ])
    }

    /// What redis-benchmark prints for one of its tests.
    static func perSecond(_ test: String, _ arguments: [String]) throws -> Double {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["redis-benchmark"] + arguments + ["--csv"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        // "SET","812345.67",…
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("\"\(test)\"") }),
            let figure = line.split(separator: ",").dropFirst().first.flatMap({
                Double($0.trimmingCharacters(in: .init(charactersIn: "\"")))
            })
        else { throw Missing(description: "redis-benchmark printed no figure:\n\(text)") }
        return figure
    }
}
