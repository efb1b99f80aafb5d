import ClientLoads
import Foundation
import HoldfastRedis
import HoldfastStore

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
        try ClientLoad.store(socket: try socket)
    }

    /// The key that redis-benchmark reads. Without it the answers would be nulls, which cost the server and the peer less.
    static func prepare(_ store: RedisStore) async throws {
        try await store(.set(Key(raw: "key:__rand_int__"), Bytes([UInt8](repeating: UInt8(ascii: "x"), count: 32))))
    }

    /// What redis-benchmark reaches with 32-byte GETs. ``prepare(_:)`` comes before it.
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
        let text = try output(of: ["redis-benchmark"] + arguments + ["--csv"])
        // "SET","812345.67",…
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("\"\(test)\"") }),
            let figure = line.split(separator: ",").dropFirst().first.flatMap({
                Double($0.trimmingCharacters(in: .init(charactersIn: "\"")))
            })
        else { throw Missing(description: "redis-benchmark printed no figure:\n\(text)") }
        return figure
    }

    /// What another client reaches with one of the loads of ``ClientLoad`` (see Benchmarks/peers).
    ///
    /// - Parameter variable: where `Benchmarks/run` says how that client is called.
    static func figures(of variable: String, load: String, count: Int) throws -> (perSecond: Double, median: Double) {
        guard let program = ProcessInfo.processInfo.environment[variable] else {
            throw Missing(description: "\(variable) names no program; call Benchmarks/run, which makes it")
        }
        let words = program.split(separator: " ").map(String.init) + [try socket, load, "\(count)"]
        let figures = try output(of: words).split(whereSeparator: \.isWhitespace).compactMap { Double($0) }
        guard figures.count == 2 else { throw Missing(description: "\(program) printed no figures") }
        return (figures[0], figures[1])
    }

    private static func output(of words: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return text
    }
}
