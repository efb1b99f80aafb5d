import Foundation

/// The file in a data folder that says where the server that has the folder listens: how the command line finds it.
public struct ServedAddress: Sendable {
    private let path: String

    public init(folder: String) { path = folder + "/address" }

    /// The URL; nil where no server has left one. Whether it still runs is not known from this: ask the folder's lock.
    public var url: String? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8), text.hasPrefix("http"), text.hasSuffix("\n")
        else {
            return nil
        }
        return String(text.dropLast())
    }

    func leave(host: String, port: Int, usesTLS: Bool) {
        let text = "\(usesTLS ? "https" : "http")://\(HostAndPort(host: Self.reachable(host), port: port))\n"
        // Without it the command line asks HOLDFAST_HOST and HOLDFAST_PORT: no reason not to serve.
        try? text.write(toFile: path, atomically: true, encoding: .utf8)
        try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// An address to call a server by that listens on this one.
    public static func reachable(_ host: String) -> String {
        switch host {
        case "0.0.0.0": "127.0.0.1"
        case "::": "::1"
        default: host
        }
    }
}
