import Foundation
import Testing
import TestSupport

/// The program from outside, by clients that nobody here wrote: each test is a script in `Python/`, which starts
/// servers of its own and ends with a status other than 0 when something is not as it should be.
@Suite(.serialized) struct AcceptanceTests {
    /// Those that measure memory, or need more of the machine than a sanitizer leaves them, run in the plain build.
    static let plainOnly = [
        "exhaustion", "kill9", "power_cut", "descriptors", "disk_full", "slow_reader", "pages", "tour", "line", "to_everyone",
    ]
    static let scripts =
        [
            "startup", "tls", "limits", "hostile", "conformance", "second_opinion", "bad_input", "events", "http_clients", "protocol",
            "sizes", "metrics", "system", "config", "loadtest", "bench_api", "capacity", "doctor", "doctor_database",
            "doctor_server", "proxies", "postgres", "instances", "bus",
        ] + (isPlain ? plainOnly : [])
    static var isPlain: Bool { ProcessInfo.processInfo.environment["SANITIZED"] == nil }

    @Test(arguments: scripts)
    func script(_ name: String) throws {
        let result = try Script.run(name)
        #expect(result.status == 0, "\(name).py:\n\(result.output)")
    }

    /// What is told of queues and kept of them, once more with the other store.
    @Test(arguments: ["bad_input", "events", "protocol", "system"] + (isPlain ? ["kill9", "line"] : []))
    func scriptOnPostgres(_ name: String) throws {
        let result = try Script.run(name, store: "postgres")
        #expect(result.status == 0, "\(name).py:\n\(result.output)")
    }
}

enum Script {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    private static let root = folder.deletingLastPathComponent().deletingLastPathComponent()
    /// Beside the tests' own program.
    private static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("stanchion").path

    static func run(_ name: String, store: String = "sqlite") throws -> (status: Int32, output: String) {
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
