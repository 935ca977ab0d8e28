import ArgumentParser
import EventLoop
import Foundation
import Operations

struct LoadTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loadtest",
        abstract: "Send a crowd to a server and measure what it meets with. Ends with 1 where the scenario's limits are missed.")

    @Option(help: "normal, peak or stress, or a file like those of Config/scenarios.")
    var scenario: String

    @Option(help: "Where the server is. On loopback, or with --remote.")
    var url = "http://127.0.0.1:8080"

    @Option(help: "A key whose role is operator at least. Default the variable STANCHION_ADMIN_KEY.")
    var adminKey: String?

    @Option(help: "USERS[:TIME]: as many times the people, and the time; one number is both.")
    var scale = "1"

    @Option(help: "Writes FILE.html and FILE.json; with one of these endings, only that.")
    var report: String?

    @Flag(help: "Send load to a machine that is not this one. You are sure that you may.")
    var remote = false

    func run() async throws {
        let scaled = try scaled(try await ScenarioFile.read(scenario))
        let address = try address()
        guard let key = adminKey ?? ProcessInfo.processInfo.environment["STANCHION_ADMIN_KEY"] else {
            throw Failure.usage("an admin key is needed: give --admin-key or set STANCHION_ADMIN_KEY")
        }
        let files = try files()
        // A connection for each who holds one, some that are closing, and those of requests.
        let holding = scaled.users * (1 - scaled.pollingPercent / 100)
        let (needed, there) = (Int(holding * 1.1) + 500, EventLoopGroup.raiseDescriptorLimit())
        guard there >= needed else {
            throw Failure.unavailable(
                "\(Int(scaled.users)) people need \(needed) descriptors and \(there) may be open: raise `ulimit -n`, or --scale down")
        }
        let test: LoadTest
        do throws(SystemError) { test = try LoadTest(scaled, address: address, adminKey: key) } catch {
            throw Failure.unavailable("no event loop can be had (\(error))")
        }
        if let fault = await test.prepare() { throw Failure.unavailable(fault) }
        let signals = try await Signals()
        Task {
            await signals.untilEnd {}
            test.interrupt()
        }
        StandardError.write("\(scaled.name): \(Int(scaled.users)) people for \(Int(scaled.durationSeconds)) s against \(address)")
        let report = await test.run { second in
            guard Int(second.second) % 5 == 0 else { return }
            let p95 = String(format: "%.1f", second.p95 * 1_000)
            StandardError.write(
                "\(Int(second.second)) s: \(second.users) people, \(second.operations) operations, \(second.errors) failed, p95 \(p95) ms")
        }
        print(report.table)
        for file in files { try write(report, to: file) }
        if !report.isMet || report.isInterrupted { throw ExitCode(1) }
    }

    private func scaled(_ scenario: Scenario) throws -> Scenario {
        let parts = scale.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
        guard (1...2).contains(parts.count), let users = parts[0], let time = parts[parts.count - 1], users > 0, time > 0 else {
            throw Failure.usage("--scale is \(scale), and must be a number like 0.1, or two like 1:0.1")
        }
        let scaled = scenario.scaled(users: users, time: time)
        if let fault = scaled.fault { throw Failure.usage("with --scale \(scale) \(fault)") }
        return scaled
    }

    private func address() throws -> SocketAddress {
        let address = try ServerURL.address(url)
        guard address.isLoopback || remote else {
            throw Failure.usage("\(address) is another machine: --remote says that you may send load there")
        }
        return address
    }

    /// Refuses before any load is sent what could not be written after it.
    private func files() throws -> [URL] {
        guard let report else { return [] }
        let names = report.hasSuffix(".html") || report.hasSuffix(".json") ? [report] : [report + ".html", report + ".json"]
        return try names.map { name in
            let file = URL(fileURLWithPath: name)
            guard (try? Data().write(to: file)) != nil else {
                throw Failure.usage("the report cannot be written to \(name): check --report")
            }
            return file
        }
    }

    private func write(_ report: LoadReport, to file: URL) throws {
        do {
            try (file.pathExtension == "html" ? Data(report.html.utf8) : try report.json()).write(to: file)
        } catch {
            throw Failure.unavailable("the report could not be written to \(file.path) (\(error.localizedDescription))")
        }
        StandardError.write("Wrote \(file.path)")
    }
}
