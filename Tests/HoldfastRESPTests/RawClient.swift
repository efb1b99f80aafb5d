import HoldfastStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

struct SocketError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

// The system's functions, under names that the class below does not have too.
private func openSocket(_ domain: Int32, _ type: Int32, _ protocol: Int32) -> Int32 { socket(domain, type, `protocol`) }
private func sendBytes(_ socket: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ flags: Int32) -> Int {
    send(socket, bytes, count, flags)
}

/// A socket and nothing else: what a test writes is what is sent, what comes is what is read.
///
/// Reads block a thread for at most the deadline; a reply that does not come by then is an error.
final class RawClient {
    static let deadline = 30

    private let socket: Int32

    init(port: Int) throws {
        #if canImport(Glibc)
            let type = Int32(SOCK_STREAM.rawValue)
        #else
            let type = SOCK_STREAM
        #endif
        socket = openSocket(AF_INET, type, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, length) }
        }
        guard result == 0 else { throw SocketError("no connection: \(String(cString: strerror(errno)))") }
        var timeout = timeval(tv_sec: Self.deadline, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var on: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close(socket) }

    /// Sends bytes; what the peer does not take any more, because it has ended the connection, is not an error.
    func send(_ bytes: some Collection<UInt8>) {
        let array = Array(bytes)
        var sent = 0
        while sent < array.count {
            let count = array[sent...].withUnsafeBytes { sendBytes(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { return }
            sent += count
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Sends one command.
    func send(_ command: [Bytes]) {
        var writer = CommandWriter()
        writer.command(command)
        send(writer.buffer)
    }

    /// What comes next, at least one byte; nil at the end of the stream.
    func receive(_ flags: Int32 = 0) throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = buffer.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, flags) }
        if count < 0, errno == EAGAIN, flags == Int32(MSG_DONTWAIT) { return [] }
        if count == 0 || (count < 0 && errno == ECONNRESET) { return nil }
        guard count > 0 else { throw SocketError("nothing came: \(String(cString: strerror(errno)))") }
        return Array(buffer[..<count])
    }

    private var received: [UInt8] = []

    /// The next whole reply, as it came; nil where the stream ended before.
    func reply() throws -> [UInt8]? {
        while true {
            if let end = RawReply.end(of: received) {
                defer { received.removeFirst(end) }
                return Array(received[..<end])
            }
            guard let more = try receive() else { return nil }
            received += more
        }
    }

    /// As ``reply()``, and holds no thread while it waits: for a reply that a task has to bring about, which may have no other thread.
    func eventualReply() async throws -> [UInt8]? {
        let end = ContinuousClock.now + .seconds(Self.deadline)
        while RawReply.end(of: received) == nil, ContinuousClock.now < end {
            guard let more = try receive(Int32(MSG_DONTWAIT)) else { return nil }
            received += more
            if more.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        }
        return try reply()
    }

    /// Sends a command and answers its reply as text.
    func callAsFunction(_ command: String...) throws -> String {
        send(command.map { Bytes($0) })
        return try String(decoding: reply() ?? [], as: UTF8.self)
    }

    /// Everything until the stream ends.
    func rest() throws -> String {
        var all = received
        while let more = try receive() { all += more }
        return String(decoding: all, as: UTF8.self)
    }
}

/// Where a reply ends, without understanding it.
enum RawReply {
    static func end(of bytes: [UInt8]) -> Int? {
        var position = 0
        var remaining = 1
        while remaining > 0 {
            guard position < bytes.count, let lineEnd = bytes[position...].firstIndex(of: 10) else { return nil }
            let mark = bytes[position]
            let line = String(decoding: bytes[(position + 1)..<(lineEnd - 1)], as: UTF8.self)
            position = lineEnd + 1
            remaining -= 1
            switch mark {
            case UInt8(ascii: "$"), UInt8(ascii: "="):
                guard let length = Int(line), length >= 0 else { break }
                guard position + length + 2 <= bytes.count else { return nil }
                position += length + 2
            case UInt8(ascii: "*"), UInt8(ascii: "~"), UInt8(ascii: ">"): remaining += max(0, Int(line) ?? 0)
            case UInt8(ascii: "%"): remaining += 2 * max(0, Int(line) ?? 0)
            default: break
            }
        }
        return position
    }
}
