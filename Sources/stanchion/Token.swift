import ArgumentParser
import EventLoop
import QueueService
import Server
import Storage

struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keys to the API, and the secrets that tokens are made with.",
        subcommands: [Create.self, List.self, Revoke.self, Rotate.self])

    struct Database: ParsableArguments {
        @Option(help: "sqlite:PATH or postgresql://USER@HOST:PORT/NAME. Default sqlite:stanchion.db.")
        var database = "sqlite:stanchion.db"

        func open() async throws -> KeyAdministration {
            let loop = try EventLoopGroup(count: 1).loops[0]
            return KeyAdministration(store: try await SettingFlags.address(database).openOrFail(exclusively: false, on: loop))
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a key and show it. A running server knows it within a second.")
        @OptionGroup var database: Database
        @Option(help: "admin, operator or integrator.")
        var role: Role
        @Option(help: "What the key is for.")
        var label = ""

        func run() async throws { print(try await database.open().create(role: role.role, label: label)) }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List keys: id, role, label.")
        @OptionGroup var database: Database

        func run() async throws {
            for key in try await database.open().list() { print(key.id, key.role.rawValue, key.label) }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take a key away. Running servers forget it within a second.")
        @OptionGroup var database: Database
        @Argument(help: "The key's id, from `token list`.")
        var id: String

        func run() async throws {
            guard let id = KeyID(id), try await database.open().revoke(id) else { throw Failure.setting("there is no key \(id)") }
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Add new signing secrets. Used from the next start or SIGHUP on, for admissions seven minutes later.")
        @OptionGroup var database: Database

        func run() async throws { try await database.open().rotateSecrets() }
    }
}

extension Token.Create {
    /// A role as an argument.
    enum Role: String, ExpressibleByArgument, CaseIterable {
        case admin, `operator`, integrator
        var role: KeyRole { KeyRole(rawValue: rawValue)! }
    }
}
