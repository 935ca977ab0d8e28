import ArgumentParser
import EventLoop
import QueueService
import Storage

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring a database's schema up to date.")

    @Option(help: "sqlite:PATH or postgresql://USER@HOST:PORT/NAME. Default sqlite:stanchion.db.")
    var database = "sqlite:stanchion.db"

    @Flag(help: "Change nothing; end with status 1 where there is something to do.")
    var check = false

    @Flag(
        help: """
            The database was restored from a backup while no instance ran: every queue's log tells another history from here on. \
            Those who followed the old one are told so, and who was given a place since the backup is not taken for somebody else.
            """)
    var newHistory = false

    func run() async throws {
        let address = try SettingFlags.address(database)
        let loop = try EventLoopGroup(count: 1).loops[0]
        var isCurrent = true
        do {
            if check {
                isCurrent = try await address.isCurrent(on: loop)
            } else {
                let store = try await address.open(exclusively: true, on: loop)
                defer { store.close() }
                if newHistory { try await store.beginHistory() }
            }
        } catch let error as StoreOpenError {
            throw Failure(error)
        } catch let error as StoreError {
            throw Failure.unavailable("no new history could be begun (\(error)): try again")
        }
        print("\(address) is \(isCurrent ? "up to date" : "not up to date: run `stanchion migrate`")")
        if !isCurrent { throw ExitCode(1) }
    }
}
