import ArgumentParser
import Glibc

@main
struct Stanchion: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stanchion",
        abstract: "A real-time position server for virtual queues.",
        version: "0.1.0",
        subcommands: [
            Serve.self, Migrate.self, Token.self, DoctorCommand.self, LoadTestCommand.self, CapacityCommand.self, BenchCommand.self,
            Echo.self,
        ],
        defaultSubcommand: Serve.self)

    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        defer { LogOutput.standardError.flush(within: 1_000) }
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
        } catch let failure as Failure {
            StandardError.write("stanchion: \(failure.sentence)")
            Glibc.exit(failure.code)
        } catch {
            LogOutput.standardError.flush(within: 1_000)
            exit(withError: error)
        }
    }
}

/// What ends the program: one sentence that names what is wrong and the way out (sysexits.h).
struct Failure: Error {
    let sentence: String
    let code: Int32

    /// The command line is wrong.
    static func usage(_ sentence: String) -> Failure { Failure(sentence: sentence, code: 64) }
    /// A setting is wrong.
    static func setting(_ sentence: String) -> Failure { Failure(sentence: sentence, code: 78) }
    /// Something that is needed cannot be had.
    static func unavailable(_ sentence: String) -> Failure { Failure(sentence: sentence, code: 69) }
}
