import Foundation
import Testing
import TestSupport

/// The program from outside, by clients that nobody here wrote: each test is a script in `Python/`, which starts
/// servers of its own and ends with a status other than 0 when something is not as it should be.
///
/// The suites run beside each other, for one script alone leaves the machine waiting. In this one is what clients meet.
@Suite(.serialized) struct AcceptanceTests {
    static let scripts = [
        "startup", "tls", "limits", "hostile", "conformance", "second_opinion", "events", "http_clients", "protocol", "sizes",
        "metrics", "config", "alerts", "k6", "proxies",
    ]

    @Test(arguments: scripts)
    func script(_ name: String) async throws { try await check(name) }

    /// What is told of queues and kept of them, once more with the other store.
    @Test(arguments: ["events", "protocol"])
    func scriptOnPostgres(_ name: String) async throws { try await check(name, store: "postgres") }
}

/// What takes more of the machine than others do.
@Suite(.serialized) struct HeavyAcceptanceTests {
    /// Those that measure memory, or need more of the machine than a sanitizer leaves them, run in the plain build.
    static let plainOnly = [
        "exhaustion", "kill9", "power_cut", "descriptors", "disk_full", "slow_reader", "slow_events", "strangers", "costs", "tour",
        "to_everyone",
    ]
    /// What looks for anything wrong comes last: it must not take other tests' load for that.
    static let scripts =
        ["bench_limits", "bench_api"] + (isPlain ? plainOnly : []) + ["loadtest", "doctor", "doctor_database", "doctor_server"]

    @Test(arguments: scripts)
    func script(_ name: String) async throws { try await check(name) }

    @Test(arguments: isPlain ? ["kill9"] : [])
    func scriptOnPostgres(_ name: String) async throws { try await check(name, store: "postgres") }
}

/// Those that wait more than they work.
@Suite(.serialized) struct PatientAcceptanceTests {
    static let scripts =
        ["postgres", "bus", "bad_input", "rows", "hostile_redis", "restart_order", "instances", "system", "capacity", "lives"]
        + (isPlain ? ["line", "pages"] : [])

    @Test(arguments: scripts)
    func script(_ name: String) async throws { try await check(name) }

    @Test(arguments: ["bad_input", "system", "restart_order"] + (isPlain ? ["line"] : []))
    func scriptOnPostgres(_ name: String) async throws { try await check(name, store: "postgres") }
}

private var isPlain: Bool { ProcessInfo.processInfo.environment["SANITIZED"] == nil }

private func check(_ name: String, store: String = "sqlite") async throws {
    let result = try await Script.run(name, store: store)
    #expect(result.status == 0, "\(name).py:\n\(result.output)")
}

enum Script {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    private static let root = folder.deletingLastPathComponent().deletingLastPathComponent()
    /// Beside the tests' own program.
    private static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("stanchion").path

    /// On a thread of its own: it waits for minutes, and all tests share one for each core.
    static func run(_ name: String, store: String) async throws -> (status: Int32, output: String) {
        try await withCheckedThrowingContinuation { done in
            Thread.detachNewThread { done.resume(with: Result { try runAndWait(name, store: store) }) }
        }
    }

    private static func runAndWait(_ name: String, store: String) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = root.appendingPathComponent(".venv/bin/python")
        process.arguments = [folder.appendingPathComponent("Python/\(name).py").path]
        process.environment = ProcessInfo.processInfo.environment.merging([
            "STANCHION": program, "PROJECT": root.path, "TEST_SEED": String(TestSeed.value), "PYTHONUNBUFFERED": "1",
            "STORE": store,
        ]) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }
}
