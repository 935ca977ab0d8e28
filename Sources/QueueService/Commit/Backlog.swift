import DequeModule
import QueueEngine

/// What waits for a commit: commands and changes of presence, by queue, and whose turn is next.
///
/// Queues take turns, so a crowd in one delays no other by more than a batch, and a batch never exceeds what the store
/// can commit well within its time limit. Pure bookkeeping: it starts nothing and waits for nothing.
struct Backlog {
    /// One queue's part of a batch.
    struct Part {
        let queue: QueueID
        var commands: [any PendingCommand]
        var presence: PresenceChanges
    }

    private struct Waiting {
        var commands = Deque<any PendingCommand>()
        var presence = PresenceChanges()
        var isEmpty: Bool { commands.isEmpty && presence.isEmpty }
    }

    private var waiting: [QueueID: Waiting] = [:]
    /// Queues with something to decide that are not blocked, each once, the next one first.
    private var ring = Deque<QueueID>()
    private var isInRing: Set<QueueID> = []
    /// Queues that must not be decided now: kept for another instance, being brought up to date, or backing off after a failure.
    private(set) var blocked: Set<QueueID> = []
    private(set) var commandCount = 0

    /// Whether there is something that may be decided now.
    var hasWork: Bool { !ring.isEmpty }

    // MARK: Adding

    mutating func add(_ command: any PendingCommand) {
        commandCount += 1
        waiting[command.queue, default: Waiting()].commands.append(command)
        enter(command.queue)
    }

    mutating func changePresence(of queue: QueueID, _ body: (inout PresenceChanges) -> Void) {
        body(&waiting[queue, default: Waiting()].presence)
        // Nothing has changed: a queue for which nothing waits must be able to rest.
        if waiting[queue]!.isEmpty { forget(queue) } else { enter(queue) }
    }

    /// Another instance has taken these tickets over.
    mutating func forgetHolders(of tickets: [Ticket], in queue: QueueID) { waiting[queue]?.presence.forgetHolders(of: tickets) }

    /// Other people have these tickets: the queue's line is another one.
    mutating func forgetTickets(in queue: QueueID) {
        guard let presence = waiting[queue]?.presence else { return }
        waiting[queue]!.presence = presence.withoutTickets
        if waiting[queue]!.isEmpty { forget(queue) }
    }

    /// Returns a part that was not committed, ahead of what came meanwhile.
    mutating func putBack(_ part: Part) {
        guard !part.commands.isEmpty || !part.presence.isEmpty else { return }
        commandCount += part.commands.count
        waiting[part.queue, default: Waiting()].commands.prepend(contentsOf: part.commands)
        waiting[part.queue]!.presence.putBack(part.presence)
        enter(part.queue, first: true)
    }

    private mutating func enter(_ queue: QueueID, first: Bool = false) {
        guard !blocked.contains(queue), waiting[queue]?.isEmpty == false, isInRing.insert(queue).inserted else { return }
        if first { ring.prepend(queue) } else { ring.append(queue) }
    }

    // MARK: Blocking

    mutating func block(_ queue: QueueID) {
        guard blocked.insert(queue).inserted, isInRing.remove(queue) != nil else { return }
        ring.removeAll { $0 == queue }
    }

    /// Returns whether it was blocked.
    @discardableResult
    mutating func unblock(_ queue: QueueID) -> Bool {
        guard blocked.remove(queue) != nil else { return false }
        enter(queue)
        return true
    }

    // MARK: Taking

    /// The next batch: an equal share for each of the queues whose turn it is.
    mutating func take(_ limits: BatchLimits) -> [Part] {
        let count = min(ring.count, limits.queues)
        guard count > 0 else { return [] }
        let (commands, tickets) = (max(1, limits.commands / count), max(1, limits.tickets / count))
        return (0..<count).map { _ in
            let queue = ring.removeFirst()
            isInRing.remove(queue)
            var own = waiting.removeValue(forKey: queue)!
            let taken = min(commands, own.commands.count)
            let part = Part(queue: queue, commands: Array(own.commands.prefix(taken)), presence: own.presence.take(tickets))
            own.commands.removeFirst(taken)
            commandCount -= taken
            if !own.isEmpty {
                waiting[queue] = own
                enter(queue)
            }
            return part
        }
    }

    /// Takes all commands, of one queue or of all, for their callers to be refused. Changes of presence stay.
    mutating func takeCommands(of queue: QueueID? = nil) -> [any PendingCommand] {
        var all: [any PendingCommand] = []
        for id in queue.map({ [$0] }) ?? Array(waiting.keys) {
            guard let own = waiting[id] else { continue }
            all += own.commands
            waiting[id]!.commands = []
            if waiting[id]!.isEmpty { forget(id) }
        }
        commandCount -= all.count
        return all
    }

    /// The queue is not served here any more. Returns the commands that still waited.
    mutating func remove(_ queue: QueueID) -> [any PendingCommand] {
        let commands = takeCommands(of: queue)
        forget(queue)
        blocked.remove(queue)
        return commands
    }

    private mutating func forget(_ queue: QueueID) {
        waiting[queue] = nil
        if isInRing.remove(queue) != nil { ring.removeAll { $0 == queue } }
    }

    /// Whether something of the queue waits for a commit, blocked or not.
    func hasWork(for queue: QueueID) -> Bool { waiting[queue] != nil }

    /// Whether anything waits for the queue, or it is blocked.
    func concerns(_ queue: QueueID) -> Bool { waiting[queue] != nil || blocked.contains(queue) }
}
