import ClientLoads
import Foundation

/// `benchmarks [name …] [--scale x] [--rounds n] [--json file] [--count n]`.
@main
enum Benchmarks {
    static let all: [any Benchmark.Type] = [
        EmbeddedBenchmark.self, JournalBenchmark.self, NearCacheBenchmark.self, LimitsBenchmark.self, ClientBenchmark.self,
        OutageBenchmark.self, HandOverBenchmark.self, FailoverBenchmark.self, DirectBenchmark.self,
    ]

    static func main() throws {
        let call = Call(CommandLine.arguments.dropFirst())
        let known = all.map { $0.name }
        if let unknown = call.names.first(where: { !known.contains($0) }) {
            FileHandle.standardError.write(
                Data("unknown benchmark '\(unknown)'; there are \(known.joined(separator: ", "))\n".utf8))
            exit(64)
        }
        let chosen = all.filter { call.names.isEmpty || call.names.contains($0.name) }
        if call.options.onlyCount != nil {
            OneThread.run { await run(chosen, call) }
        } else {
            Task {
                await run(chosen, call)
                exit(0)
            }
            dispatchMain()
        }
    }

    private static func run(_ chosen: [any Benchmark.Type], _ call: Call) async {
        do {
            var results: [String: [Row]] = [:]
            for benchmark in chosen {
                let rows = try await benchmark.run(call.options)
                results[benchmark.name] = rows
                if call.options.onlyCount == nil {
                    print("\n\(benchmark.name)")
                    Table.print(rows)
                }
            }
            guard let file = call.file else { return }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            try encoder.encode(results).write(to: URL(fileURLWithPath: file))
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(1)
        }
    }

    private struct Call: Sendable {
        var names: [String] = []
        var options = Options()
        var file: String?

        init(_ words: ArraySlice<String>) {
            var words = words.makeIterator()
            while let word = words.next() {
                switch word {
                case "--scale": options.scale = words.next().flatMap(Double.init) ?? 1
                case "--rounds": options.rounds = words.next().flatMap(Int.init) ?? 5
                case "--count": options.onlyCount = words.next().flatMap(Int.init)
                case "--json": file = words.next()
                default: names.append(word)
                }
            }
        }
    }
}
