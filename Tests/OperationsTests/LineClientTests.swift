import EventLoop
import Logging
import Operations
import Server
import Storage
import Testing
import TestSupport

/// The client that makes load and the demo's crowd, against a whole server.
@Suite struct LineClientTests {
    private static func serve(_ folder: TemporaryFolder) async throws -> Server {
        var settings = ServerSettings()
        settings.listen = SocketAddress("127.0.0.1:0")!
        settings.loops = 1
        settings.adminKey = String(repeating: "k", count: 32)
        let store = try SQLiteStore(path: folder.file("db"), exclusively: true)
        return try await Server.start(
            settings, store: store, serviceLoop: try EventLoopGroup(count: 1).loops[0],
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test func aVisitorIsLetInAndGivesThePlaceBack() async throws {
        let folder = TemporaryFolder()
        let server = try await LineClientTests.serve(folder)
        let loop = try EventLoopGroup(count: 1).loops[0]
        let heard = await withCheckedContinuation { done in
            let address = server.address
            loop.execute {
                var heard: [String] = []
                _ = try! LineClient(loop: loop, to: address, first: #"{"type":"join","queue":"demo"}"#) { client, event, _ in
                    switch event {
                    case .joined: heard.append("joined")
                    case .position: break
                    case .admitted:
                        heard.append("admitted")
                        client.send(#"{"type":"leave"}"#)
                    case .ended: heard.append("ended")
                    case .closed(let code):
                        heard.append("closed \(code ?? 0)")
                        done.resume(returning: heard)
                    }
                }
            }
        }
        #expect(heard == ["joined", "admitted", "ended", "closed 4500"])
        await server.drain()
        loop.stop()
    }

    @Test func aServerThatIsNotThereIsSaidOnce() async throws {
        let loop = try EventLoopGroup(count: 1).loops[0]
        let code = await withCheckedContinuation { done in
            loop.execute {
                _ = try! LineClient(loop: loop, to: SocketAddress("127.0.0.1:1")!, first: "") { _, event, _ in
                    if case .closed(let code) = event { done.resume(returning: code) }
                }
            }
        }
        #expect(code == nil)
        loop.stop()
    }
}
