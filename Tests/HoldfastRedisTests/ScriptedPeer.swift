import HoldfastStore
import NIOCore
import NIOPosix
import TestServers

@testable import HoldfastRedis

/// Reads commands and answers each as its test says.
///
///     let peer = try await ScriptedPeer.start { command in command[0] == "GET" ? "+value\r\n" : nil }
final class ScriptedPeer: Sendable {
    /// The answer to a command, in bytes as they are sent; nil closes the connection.
    typealias Script = @Sendable (_ command: [String]) -> String?

    let port: Int
    private let listener: any NIOCore.Channel

    /// - Parameters:
    ///   - greeting: the answer to the first words of a connection (HELLO, CLIENT).
    static func start(greeting: String = "+OK\r\n", _ script: @escaping Script) async throws -> ScriptedPeer {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Answerer(greeting, script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return ScriptedPeer(listener)
    }

    private init(_ listener: any NIOCore.Channel) {
        self.listener = listener
        port = listener.localAddress?.port ?? 0
    }

    func stop() async throws { try await listener.close() }

    private final class Answerer: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let greeting: String
        private let script: Script
        private var received = ByteBuffer()

        init(_ greeting: String, _ script: @escaping Script) {
            self.greeting = greeting
            self.script = script
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = unwrapInboundIn(data)
            received.writeBuffer(&bytes)
            while let command = nextCommand() {
                guard let answer = ["HELLO", "CLIENT"].contains(command[0]) ? greeting : script(command) else {
                    return context.close(promise: nil)
                }
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
            }
        }

        /// The words of the next command, where all of it is there.
        private func nextCommand() -> [String]? {
            var rest = received
            guard let count = number(behind: "*", in: &rest) else { return nil }
            var words: [String] = []
            for _ in 0..<count {
                guard let length = number(behind: "$", in: &rest), let word = rest.readString(length: length),
                    rest.readString(length: 2) != nil
                else { return nil }
                words.append(word)
            }
            received = rest
            return words
        }

        private func number(behind mark: String, in bytes: inout ByteBuffer) -> Int? {
            guard let end = bytes.readableBytesView.firstIndex(of: UInt8(ascii: "\n")),
                let line = bytes.readString(length: end + 1 - bytes.readerIndex), line.hasPrefix(mark)
            else { return nil }
            return Int(line.dropFirst().dropLast(1).filter(\.isNumber))
        }
    }
}

/// Peers that are a cluster. All tell the same slot table, which a test may change.
struct ScriptedCluster {
    typealias Table = [(slots: ClosedRange<Int>, peer: Int)]

    let peers: [ScriptedPeer]
    /// Each has an equal part of the slots at first.
    let table: Locked<Table>

    /// - Parameter silent: those that answer nothing any more, whatever they are asked.
    static func start(
        greetings: [String]? = nil, silent: Locked<Set<Int>> = Locked([]), _ scripts: [ScriptedPeer.Script]
    ) async throws -> ScriptedCluster {
        let (ports, size) = (Locked<[Int]>([]), ClusterSlot.count / scripts.count)
        let table = Locked(scripts.indices.map { (slots: $0 * size...($0 + 1) * size - 1, peer: $0) })
        var peers: [ScriptedPeer] = []
        for (number, script) in scripts.enumerated() {
            let peer = try await ScriptedPeer.start(greeting: greetings?[number] ?? "+OK\r\n") { command in
                guard !silent.withLock({ $0.contains(number) }) else { return "" }
                return switch command.prefix(2) {
                case ["CLUSTER", "SLOTS"]: slots(table.withLock { $0 }, ports.withLock { $0 })
                case ["CLUSTER", "INFO"]: "$43\r\ncluster_state:ok\r\ncluster_current_epoch:1\r\n\r\n"
                default: script(command)
                }
            }
            peers.append(peer)
            ports.withLock { $0.append(peer.port) }
        }
        return ScriptedCluster(peers: peers, table: table)
    }

    /// It is told of the first one only.
    func configuration() -> RedisConfiguration { configuration { _ in } }

    func configuration(_ change: (inout RedisConfiguration.Cluster) -> Void) -> RedisConfiguration {
        var cluster = RedisConfiguration.Cluster(nodes: [.init(host: "127.0.0.1", port: peers[0].port)])
        change(&cluster)
        return RedisConfiguration(endpoint: .cluster(cluster)).patient
    }

    func stop() async throws { for peer in peers { try await peer.stop() } }

    private static func slots(_ table: Table, _ ports: [Int]) -> String {
        let ranges = table.map { slots, peer in
            "*3\r\n:\(slots.lowerBound)\r\n:\(slots.upperBound)\r\n*2\r\n$9\r\n127.0.0.1\r\n:\(ports[peer])\r\n"
        }
        return "*\(table.count)\r\n" + ranges.joined()
    }
}
