import EventLoop
import Foundation

/// A server's address from the flag `--url`. Its API is spoken to without TLS, and names are not looked up.
enum ServerURL {
    static func address(_ url: String) throws -> SocketAddress {
        guard let parts = URLComponents(string: url), parts.scheme == "http", let host = parts.host, !host.isEmpty,
            ["", "/"].contains(parts.path), let address = SocketAddress("\(host):\(parts.port ?? 80)")
        else { throw Failure.usage("--url is \(url), and must be like http://127.0.0.1:8080, with an address and without TLS") }
        return address
    }
}
