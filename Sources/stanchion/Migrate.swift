import ArgumentParser
import Storage

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring a database's schema up to date.")

    @Option(help: "sqlite:PATH. Default sqlite:stanchion.db.")
    var database = "sqlite:stanchion.db"

    @Flag(help: "Change nothing; end with status 1 where there is something to do.")
    var check = false

    func run() async throws {
        let path = try SettingFlags.path(database)
        var isCurrent = true
        do throws(StoreOpenError) {
            if check { isCurrent = try SQLiteStore.isCurrent(path: path) } else { try SQLiteStore(path: path, exclusively: true).close() }
        } catch {
            throw Failure.unavailable(error.description)
        }
        print("\(path) is \(isCurrent ? "up to date" : "not up to date: run `stanchion migrate`")")
        if !isCurrent { throw ExitCode(1) }
    }
}
