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

/// Two peers that are a cluster, each with half of the slots.
struct ScriptedCluster {
    let peers: [ScriptedPeer]

    static func start(greetings: [String] = ["+OK\r\n", "+OK\r\n"], _ scripts: [ScriptedPeer.Script]) async throws
        -> ScriptedCluster
    {
        let ports = Locked<[Int]>([])
        var peers: [ScriptedPeer] = []
        for (greeting, script) in zip(greetings, scripts) {
            let peer = try await ScriptedPeer.start(greeting: greeting) { command in
                switch command.prefix(2) {
                case ["CLUSTER", "SLOTS"]: slots(ports.withLock { $0 })
                case ["CLUSTER", "INFO"]: "$43\r\ncluster_state:ok\r\ncluster_current_epoch:1\r\n\r\n"
                default: script(command)
                }
            }
            peers.append(peer)
            ports.withLock { $0.append(peer.port) }
        }
        return ScriptedCluster(peers: peers)
    }

    /// It is told of the first one only.
    func configuration() -> RedisConfiguration {
        RedisConfiguration(endpoint: .cluster(.init(nodes: [.init(host: "127.0.0.1", port: peers[0].port)]))).patient
    }

    func stop() async throws { for peer in peers { try await peer.stop() } }

    private static func slots(_ ports: [Int]) -> String {
        let size = ClusterSlot.count / ports.count
        let ranges = ports.enumerated().map { number, port in
            "*3\r\n:\(number * size)\r\n:\((number + 1) * size - 1)\r\n*2\r\n$9\r\n127.0.0.1\r\n:\(port)\r\n"
        }
        return "*\(ports.count)\r\n" + ranges.joined()
    }
}
