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

    func run() async throws {
        let address = try SettingFlags.address(database)
        let loop = try EventLoopGroup(count: 1).loops[0]
        var isCurrent = true
        do throws(StoreOpenError) {
            if check {
                isCurrent = try await address.isCurrent(on: loop)
            } else {
                try await address.open(exclusively: true, on: loop).close()
            }
        } catch {
            throw Failure(error)
        }
        print("\(address) is \(isCurrent ? "up to date" : "not up to date: run `stanchion migrate`")")
        if !isCurrent { throw ExitCode(1) }
    }
}
