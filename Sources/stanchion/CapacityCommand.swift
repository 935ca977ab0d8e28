import ArgumentParser
import Foundation
import Operations

struct CapacityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Plan for so many people: instances, processors, memory, Postgres and Redis, now and as they become more.",
        discussion: """
            Reckons with what load tests have measured: those of --measured, else some of a machine with two processors. Two tests \
            with different numbers of people tell what nobody costs from what each one does.
            """)

    @Option(help: "People in line at once, over all queues: 1 to 100000000.")
    var users: Double

    @Option(help: "How many of a hundred more they become a month: 0% to 1000%.")
    var growth = "0%"

    @Option(help: "How many of a hundred more their requests become a month. Default as --growth.")
    var requestGrowth: String?

    @Option(help: "How many of a hundred more the data becomes that they leave in a month. Default as --growth.")
    var dataGrowth: String?

    @Option(help: "For how many months: 1 to 120.")
    var months = 12.0

    @Option(help: "A report of `stanchion loadtest`, as JSON; may be given several times.")
    var measured: [String] = []

    @Option(help: "Processors of a machine that an instance runs on. Default those of this one.")
    var cores: Double?

    @Option(help: "Its memory in GB. Default this one's.")
    var memoryGB: Double?

    @Option(help: "What its network carries, in Mbit/s. Default: the network decides nothing.")
    var networkMegabits: Double?

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "Write a chart to this file, as SVG.")
    var chart: String?

    func run() async throws {
        let plan = CapacityPlan(
            users: try checked("--users", users, 1...1e8),
            growth: .init(
                users: try percent("--growth", growth), requests: try requestGrowth.map { try percent("--request-growth", $0) },
                data: try dataGrowth.map { try percent("--data-growth", $0) }),
            months: try checked("--months", months, 1...120),
            model: try model(),
            machine: .init(
                cores: try checked("--cores", cores ?? Double(ProcessInfo.processInfo.activeProcessorCount), 0.1...1_024),
                memoryBytes: try checked("--memory-gb", memoryGB ?? Double(ProcessInfo.processInfo.physicalMemory) / 1e9, 0.1...100_000)
                    * 1e9,
                networkBytesPerSecond: try networkMegabits.map { try checked("--network-megabits", $0, 1...10_000_000) * 1e6 / 8 }))
        if let chart, (try? Data(plan.chart.utf8).write(to: URL(fileURLWithPath: chart))) == nil {
            throw Failure.usage("the chart cannot be written to \(chart): check --chart")
        }
        print(json ? try plan.printed() : plan.table)
    }

    private func checked(_ name: String, _ value: Double, _ range: ClosedRange<Double>) throws -> Double {
        guard range.contains(value) else {
            throw Failure.usage("\(name) is \(value), and must be from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private func percent(_ name: String, _ text: String) throws -> Double {
        guard let value = Double(text.hasSuffix("%") ? text.dropLast() : text[...]) else {
            throw Failure.usage("\(name) is \(text), and must be like 20%")
        }
        return try checked(name, value, 0...1_000)
    }

    private func model() throws -> LoadModel {
        guard !measured.isEmpty else { return .twoProcessors }
        struct Whole: Decodable { let report: LoadReport }
        let reports = try measured.map { path in
            guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)),
                let whole = try? JSONDecoder().decode(Whole.self, from: data)
            else {
                throw Failure.usage("\(path) is no report of `stanchion loadtest` in JSON: check --measured")
            }
            return whole.report
        }
        do throws(LoadModel.Unusable) { return try LoadModel(reports) } catch {
            throw Failure.usage(
                "a report of \(error.scenario) does not say what the server used: it must run to its end, ten seconds beyond its ramp")
        }
    }
}
