import QueueEngine
import QueueService

/// What visitors' pages show, against the truth.
struct Displays {
    weak var world: World?

    func opened(_ connection: Connection) {}
    func closed(_ connection: Connection) {}
    func changed(_ queue: QueueID, at process: Incarnation) {}
}
