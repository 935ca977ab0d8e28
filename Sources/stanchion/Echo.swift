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

    func run() async throws {
        guard let address = SocketAddress(listen) else { throw Failure.setting("listen must be an address and a port") }
        let signals = try await Signals()
        EventLoopGroup.raiseDescriptorLimit()
        do throws(SystemError) {
            let bound = try EchoServer.start(on: address, loops: loops)
            StandardError.write("Echoing ws://\(bound)/")
        } catch {
            throw Failure.unavailable("\(address) cannot be listened on (\(error)): choose another --listen")
        }
        await signals.untilEnd {}
    }
}
