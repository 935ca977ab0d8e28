import ArgumentParser
import EventLoop
import Fanout
import Glibc
import Logging
import Operations
import QueueService
import Server
import Storage

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve queues.",
        discussion: """
            Each setting is a flag, an environment variable (in brackets) and a line in the file of --config, in that order \
            of precedence. SIGTERM drains and ends with status 0, a second one ends at once; SIGHUP reads keys and secrets anew.
            """)

    @OptionGroup var flags: SettingFlags

    @Flag(help: "Let a bounded crowd of clients stand in the queue `demo`.")
    var demo = false

    func run() async throws {
        var settings = try await flags.read()
        let signals = try await Signals()
        let log = settings.makeLog()
        let descriptors = EventLoopGroup.raiseDescriptorLimit()
        // Some are for the store and the loops, and some for those that are told that there are no more.
        settings.server.limits.connections = min(settings.server.limits.connections, max(16, descriptors - 256))
        let serviceLoop = try EventLoopGroup(count: 1)
        let store = try await settings.database.openOrFail(exclusively: true, on: serviceLoop.loops[0], settings.postgres)
        let server = try await start(settings.server, store, serviceLoop.loops[0], log)
        log.info(
            "serving", metadata: ["address": "\(server.address)", "database": "\(settings.database)", "descriptors": "\(descriptors)"])
        say("Serving \(settings.server.tls == nil ? "http" : "https")://\(server.address)/")
        if let key = server.newAdminKey { say("Admin key, shown only now: \(key)") }
        let crowd = demo ? try DemoCrowd(address: server.address, queue: "demo") : nil
        await signals.untilEnd { await server.reload() }
        log.info("draining")
        crowd?.stop()
        await server.drain()
        store.close()
        serviceLoop.stop()
        log.info("ended")
    }

    /// Says a line at once, also to a pipe, behind what the log says.
    private func say(_ line: String) {
        LogOutput.standardError.flush(within: 1_000)
        let bytes = Array((line + "\n").utf8)
        _ = write(STDOUT_FILENO, bytes, bytes.count)
    }

    private func start(_ settings: ServerSettings, _ store: any QueueStore, _ loop: EventLoop, _ log: Logger) async throws -> Server {
        do {
            return try await Server.start(settings, store: store, serviceLoop: loop, log: log)
        } catch let error as SystemError {
            throw Failure.unavailable("\(settings.listen) cannot be listened on (\(error)): choose another --listen, or end who has it")
        } catch let error as BusRefused {
            let remedy =
                error.reason.hasPrefix("NOPERM")
                ? "allow its user the commands, channels and keys that Config/redis.conf has"
                : "the user and the password belong into --redis"
            throw Failure.unavailable("Redis does not let this instance in (\(error.reason)): \(remedy)")
        } catch let error as TLSError {
            throw Failure.setting("tls-cert cannot be used: \(error)")
        } catch let error as StoreError {
            throw Failure.unavailable("the database cannot be used (\(error)): restore it from a backup, or make room on its disk")
        }
    }
}
