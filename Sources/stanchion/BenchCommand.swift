import ArgumentParser
import EventLoop
import Fanout
import Foundation
import Logging
import Operations
import QueueService
import Server
import Storage

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure this program on this machine.", subcommands: [API.self])

    struct API: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Time requests and what they do in the database, one at a time. Ends with 1 where a target is missed.",
            discussion: "A server is started on loopback for it, and what it makes is deleted.")

        @Option(help: "sqlite:PATH or postgresql://USER@HOST:PORT/NAME; may be given several times. Default a new file.")
        var database: [String] = []

        @Option(help: "How often each is done; queues are created a tenth as often.")
        var rounds = 1_000

        @Flag(help: "Print JSON.")
        var json = false

        func run() async throws {
            guard (10...1_000_000).contains(rounds) else { throw Failure.usage("--rounds is \(rounds), and must be from 10 to 1000000") }
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
                "stanchion-bench-\(ProcessInfo.processInfo.processIdentifier)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            let addresses = database.isEmpty ? ["sqlite:\(folder.path)/db"] : database
            var results: [Result] = []
            for text in addresses {
                let address = try SettingFlags.address(text)
                let times: [ResponseTimes]
                do { times = try await measure(address) } catch let error as APIBenchmark.Refused {
                    throw Failure.unavailable("\(address): \(error)")
                } catch let error as StoreError {
                    throw Failure.unavailable("\(address) cannot be used (\(error))")
                } catch let error as ServiceError {
                    throw Failure.unavailable("\(address) cannot be used (\(error))")
                }
                results += times.map { Result(database: address.kind, times: $0) }
                if !json { print(BenchCommand.table(times, on: address.kind)) }
            }
            if json { print(String(decoding: try JSONEncoder().encode(results), as: UTF8.self)) }
            if !results.allSatisfy(\.isMet) { throw ExitCode(1) }
        }

        private func measure(_ address: DatabaseAddress) async throws -> [ResponseTimes] {
            let serviceLoop = try EventLoopGroup(count: 1)
            defer { serviceLoop.stop() }
            let log = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }
            let store = try await address.openOrFail(exclusively: true, on: serviceLoop.loops[0])
            defer { store.close() }
            var settings = ServerSettings()
            settings.listen = SocketAddress("127.0.0.1:0")!
            settings.loops = 1
            settings.adminKey = "bench-" + UUID().uuidString
            let server = try await Server.start(settings, store: store, serviceLoop: serviceLoop.loops[0], log: log)
            let times = try await APIBenchmark(address: server.address, key: settings.adminKey!).run(rounds: rounds)
            await server.drain()
            return try await times + StoreBenchmark.run(store, on: serviceLoop.loops[0], rounds: rounds)
        }
    }

    private struct Result: Encodable {
        let database: String
        let name: String
        let count: Int
        let milliseconds: ResponseTimes.Percentiles
        let target: ResponseTimes.Percentiles
        let isMet: Bool

        init(database: String, times: ResponseTimes) {
            self.database = database
            name = times.name
            count = times.count
            milliseconds = times.measured
            target = times.target
            isMet = times.isMet
        }
    }

    private static func table(_ times: [ResponseTimes], on database: String) -> String {
        func row(_ name: String, _ measured: ResponseTimes.Percentiles, _ target: ResponseTimes.Percentiles, _ word: String) -> String {
            name.padding(toLength: 14, withPad: " ", startingAt: 0)
                + String(
                    format: "%9.2f%9.2f%9.2f %9.0f%9.0f%9.0f  ", measured.p50, measured.p95, measured.p99, target.p50, target.p95,
                    target.p99)
                + word
        }
        let head = "\(database), milliseconds".padding(toLength: 23, withPad: " ", startingAt: 0)
        return
            ([head + "p50      p95      p99  at most: p50      p95      p99"]
            + times.map { row($0.name, $0.measured, $0.target, $0.isMet ? "met" : "MISSED") }).joined(separator: "\n")
    }
}

/// What a join and a look at a session cost in the database, without a request around them.
private enum StoreBenchmark {
    static func run(_ store: any QueueStore, on loop: EventLoop, rounds: Int) async throws -> [ResponseTimes] {
        let service = QueueService(
            executor: LoopSerialExecutor(loop), store: store, bus: InProcessBus(), clock: SystemClock(loop: loop), random: SystemRandom(),
            log: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
        try await service.start()
        let tenant = try await store.tenants()[0].id
        let queue = try await service.create(tenant: tenant) { $0.name = "benchmark" }.record.id
        var insert = ResponseTimes("queue_insert", target: .init(10, 50, 100))
        var select = ResponseTimes("queue_select", target: .init(5, 20, 50))
        for _ in 0..<rounds {
            let began = EventLoop.monotonicNow()
            let session = try await service.join(queue, visitor: Visitor(), holder: .polls).session
            let joined = EventLoop.monotonicNow()
            _ = try await service.session(session.id)
            insert.note(nanoseconds: joined - began)
            select.note(nanoseconds: EventLoop.monotonicNow() - joined)
        }
        try await service.delete(queue, tenant: tenant)
        await service.stop()
        return [insert, select]
    }
}

extension DatabaseAddress {
    /// SQLite or Postgres.
    fileprivate var kind: String { if case .sqlite = self { "SQLite" } else { "Postgres" } }
}
