import QueueEngine
import QueueService

/// An integrator that reads a queue's events, now and then, at whatever process answers: it must get every event, in order,
/// or be told that some are gone.
final class Reader: @unchecked Sendable {
    private unowned let world: World
    let queue: SimulatedQueue
    private(set) var seq: UInt64 = 0
    private var epoch: UInt64?
    private var isReading = false
    /// That the queue is not there any more.
    private(set) var knowsOfDeletion = false
    /// An answer that came after the reader had given up on it is ignored.
    private var attempt = 0

    init(_ queue: SimulatedQueue, in world: World) {
        self.queue = queue
        self.world = world
    }

    func schedule() {
        world.scheduler.after(world.dice.time(mean: world.options.readEvery)) { [weak self] in
            guard let self else { return }
            self.read()
            if !self.world.isDraining, !self.queue.isDeleted { self.schedule() }
        }
    }

    func read() {
        guard !isReading, let process = world.pickProcess() else { return }
        isReading = true
        attempt += 1
        let (id, tenant, seq, epoch, attempt) = (queue.id, queue.tenant, seq, epoch, attempt)
        process.ask { [self] service in
            do throws(ServiceError) {
                let log = try await service.log(of: "\(id)", tenant: tenant)
                let entries = try await service.entries(of: log.queue, tenant: tenant, after: seq, epoch: epoch)
                if process.isAlive, attempt == self.attempt { took(entries) }
            } catch {
                if process.isAlive, attempt == self.attempt { failed(error) }
            }
            if attempt == self.attempt { isReading = false }
        }
        // A process that died never answers.
        world.scheduler.after(.seconds(60)) { [weak self] in
            if let self, self.attempt == attempt { (self.isReading, self.attempt) = (false, attempt + 1) }
        }
    }

    private func took(_ entries: ArraySlice<LogEntry>) {
        guard let first = entries.first, first.event.seq > seq || entries.last!.event.seq > seq else { return }
        for entry in entries {
            guard entry.event.seq == seq + 1 else {
                return world.report(.events, "a reader after \(seq) was given \(entry.event.seq)")
            }
            seq += 1
        }
        let (id, last) = (queue.id, entries.last!)
        let stored = world.database.transaction { state, _ in state.queues[id]?.entries(after: last.event.seq - 1, limit: 1).first }
        if let stored, stored.event.seq == last.event.seq, stored != last {
            world.report(.events, "a reader was given \(last) and the store has \(stored)")
        }
        world.tally.read += entries.count
    }

    private func failed(_ error: ServiceError) {
        switch error {
        case .unavailable, .storeFull: break
        case .noSuchQueue where queue.isDeleted:
            knowsOfDeletion = true
            let (head, isActive) = world.database.transaction { state, _ in
                (state.queues[queue.id]?.position.seq ?? 0, state.queues[queue.id]?.isActive ?? false)
            }
            if isActive { world.report(.events, "a reader was told that the queue is gone before it was") }
            if seq < head { world.report(.events, "a reader after \(seq) was told that the queue is gone; its log has \(head)") }
        case .logRestarted(let epoch, let first, let head):
            if first <= seq + 1, seq <= head, self.epoch ?? epoch == epoch {
                world.report(.events, "a reader after \(seq) was told that the log restarted; it has \(first)...\(head)")
            }
            self.epoch = epoch
            seq = first - 1
        default: world.report(.events, "a reader was answered \(error)")
        }
    }
}
