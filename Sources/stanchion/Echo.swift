import ArgumentParser
import EventLoop
import Server

struct Echo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a bare WebSocket echo over the same layers, for conformance and comparison.")

    @Option(help: "Address and port to serve on.")
    var listen = "127.0.0.1:9001"

    @Option(help: "Event loops.")
    var loops = 1

    @Option(help: "Serve TLS with these certificate chains in PEM, with commas between them; the first is for clients that name no server.")
    var tlsCert: String?

    @Option(help: "Their private keys, in the same order.")
    var tlsKey: String?

    func run() async throws {
        guard let address = SocketAddress(listen) else { throw Failure.setting("listen must be an address and a port") }
        let signals = try await Signals()
        EventLoopGroup.raiseDescriptorLimit()
        let context: TLSContext?
        do {
            context = try TLSContext.Files.pairs(certificates: tlsCert, keys: tlsKey).map { try TLSContext($0, tickets: TLSTicketKeys()) }
        } catch let error as TLSError {
            throw Failure.setting("\(error)")
        }
        do throws(SystemError) {
            let bound = try EchoServer.start(on: address, loops: loops, tls: context)
            StandardError.write("Echoing \(context == nil ? "ws" : "wss")://\(bound)/")
        } catch {
            throw Failure.unavailable("\(address) cannot be listened on (\(error)): choose another --listen")
        }
        await signals.untilEnd {}
    }
}
