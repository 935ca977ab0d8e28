import Foundation
import Testing

/// The simulator as a process of its own: it takes the process's tasks into its own hands, and the order of dictionaries
/// and sets must be the same each time.
@Suite(.serialized) struct SimulateTests {
    @Test func seedReproducesRunToItsLastEvent() async throws {
        for seed in [4, 7, 11] {
            let arguments = ["--seed", "\(seed)", "--days", "1", "--verbose"]
            let (first, second) = try await (Simulate.run(arguments), Simulate.run(arguments))
            let digest = try #require(first.output.firstMatch(of: /digest ([0-9a-f]+) of ([0-9]+)/))
            #expect(Int(digest.2)! > 1_000)
            #expect(digest.1 == second.output.firstMatch(of: /digest ([0-9a-f]+)/)?.1)
        }
    }

    /// A fresh seed each time; `TEST_SEED` repeats one.
    @Test func minuteOfWorldsFindsNothing() async throws {
        let seed = ProcessInfo.processInfo.environment["TEST_SEED"].map { ["--from", $0] } ?? []
        let result = try await Simulate.run(["--seconds", "60", "--findings", "1"] + seed)
        #expect(result.status == 0, "\(result.output)")
    }

    /// `make mutations` takes too long to be run with the tests; that each mutation still fits the code is checked here.
    @Test func mutationsFitTheCode() async throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Simulation/mutations.py")
        let result = try await Simulate.run([script.path, "--check"], in: URL(fileURLWithPath: "/usr/bin/python3"))
        #expect(result.status == 0, "\(result.output)")
    }
}

enum Simulate {
    /// Beside the tests' own program.
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("simulate")

    /// On a thread of its own: it waits for a minute, and all tests share one for each core.
    static func run(_ arguments: [String], in program: URL = program) async throws -> (status: Int32, output: String) {
        try await withCheckedThrowingContinuation { done in
            Thread.detachNewThread { done.resume(with: Result { try runAndWait(arguments, in: program) }) }
        }
    }

    private static func runAndWait(_ arguments: [String], in program: URL) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }
}
