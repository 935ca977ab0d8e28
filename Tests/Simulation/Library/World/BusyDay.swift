import DequeModule
import Foundation
import Glibc
import Logging
public import QueueEngine
public import QueueService
import Telemetry

/// A service that a steady stream of people passes through for a day, at a thousand joins a second or as many as asked for.
/// Nothing goes wrong; what is looked at is whether it needs more memory for the last person than for an early one.
///
/// Three of four complete their admission, the others let it lapse. Some come by name, some with an `Idempotency-Key`; a
/// reader follows the events. What has ended is deleted a minute later, so the store's rows, which lie in this process,
/// too, do not grow with time.
public final class BusyDay: QueueObserver, @unchecked Sendable {
    /// What there was at the end of an hour.
    public struct Hour: Sendable {
        public let number: Int
        public let joins: Int
        public let refused: Int
        public let waiting: Int
        /// Of this process, the model store among it, in bytes.
        public let resident: Int
        /// Elements in each of the service's collections.
        let sizes: [String: Int]
        /// Rows in each of the store's tables.
        let tables: [String: Int]
    }

    private let joinsPerSecond: Int
    private let scheduler = Scheduler(dice: Dice(seed: 1))
    private let runQueue = RunQueue()
    private let elsewhere = RunQueue()
    private let database: ModelDatabase
    private let service: QueueService
    private let tenant = TenantID(high: 1, low: 1)
    private var queue: QueueID?
    private var dice = Dice(seed: 2)
    private var sessions: [Ticket: SessionID] = [:]
    /// Who completes the admission, and when.
    private var completions = Deque<(at: Timestamp, ticket: Ticket)>()
    private var (joins, refused, seq) = (0, 0, UInt64(0))
    private var waiting = 0
    private var isReading = false
    private let sizes = Sizes()

    private static let tick = Timestamp.Span.milliseconds(100)
    private static let stay = Timestamp.Span.seconds(20)

    public init(joinsPerSecond: Int) {
        self.joinsPerSecond = joinsPerSecond
        database = ModelDatabase(reserves: false) { [scheduler] in scheduler.now }
        var retention = RetentionSettings()
        (retention.sessions, retention.receipts, retention.log) = (.seconds(60), .seconds(60), .seconds(60))
        service = QueueService(
            executor: runQueue, store: ModelStore(database, gate: SteadyGate(scheduler)), bus: NoBus(),
            clock: SimulatedClock(scheduler, runQueue, error: .milliseconds(0)), random: SimulatedRandom(seed: 3), retention: retention,
            measurements: QueueMeasurements(registry: PrometheusRegistry()),
            log: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() })
        GlobalPool.capture(for: scheduler, fallback: elsewhere)
        scheduler.add(elsewhere)
        scheduler.add(runQueue)
    }

    /// Runs for that many hours, and tells what there was at the end of each.
    public func run(hours: Int, each: (Hour) -> Void) {
        ask { [self] service in
            try await service.start()
            await service.observe(self)
            let made = try await service.create(tenant: tenant) { record in
                record.configuration.maxConcurrentUsers = 1_000_000
                record.configuration.releaseRatePerMinute = 90 * self.joinsPerSecond
                record.configuration.admissionTTLSeconds = 60
            }
            queue = made.record.id
            tick()
        }
        for number in 1...hours {
            scheduler.run(until: scheduler.now + .seconds(3_600)) { false }
            each(look(number))
        }
    }

    private func look(_ number: Int) -> Hour {
        Hour(
            number: number, joins: joins, refused: refused,
            waiting: waiting, resident: BusyDay.resident,
            sizes: sizes.of(service).filter { !$0.key.hasPrefix("memory") }, tables: database.transaction { state, _ in state.counts })
    }

    /// The process's resident set, in bytes (proc(5)).
    private static var resident: Int {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    private func ask(_ body: @escaping @Sendable (QueueService) async throws -> Void) {
        _ = Task(executorPreference: runQueue.tasks) { [self, service] in
            do { try await body(service) } catch { refused += 1 }
        }
    }

    private func tick() {
        scheduler.after(BusyDay.tick) { [weak self] in self?.tick() }
        for _ in 0..<joinsPerSecond / 10 { join() }
        while let next = completions.first, next.at <= scheduler.now {
            completions.removeFirst()
            guard let session = sessions.removeValue(forKey: next.ticket) else { continue }
            ask { [tenant] service in _ = try await service.complete(session, tenant: tenant) }
        }
        read()
    }

    private func join() {
        joins += 1
        let number = joins
        let once =
            number.isMultiple(of: 20) ? WriteOnce(tenant: tenant, key: "key-\(number)", requestHash: Array(repeating: 1, count: 32)) : nil
        var visitor = Visitor()
        if number.isMultiple(of: 10) { visitor.user = "user-\(number)" }
        let (queue, wanted) = (queue!, visitor)
        ask { [self] service in
            let session = try await service.join(queue, visitor: wanted, holder: .polls, once: once).session
            sessions[session.ticket] = session.id
        }
    }

    /// Follows the events, a page after the other until there are no more.
    private func read() {
        guard !isReading, let queue else { return }
        isReading = true
        ask { [self] service in
            defer { isReading = false }
            while case let page = try await service.entries(of: queue, tenant: tenant, after: seq, epoch: nil), let last = page.last {
                seq = last.event.seq
            }
        }
    }

    // MARK: What the service says

    public func queueChanged(_ update: QueueUpdate) {
        waiting = update.snapshot.state.waitingCount
        for event in update.events {
            switch event.change {
            case .admitted(let ticket, _) where dice.chance(0.75): completions.append((event.at + BusyDay.stay, ticket))
            case .expired(let ticket, _): sessions[ticket] = nil
            default: break
            }
        }
    }

    public func queueRemoved(_ queue: QueueID) {}
    public func stalenessChanged(_ since: Timestamp?) {}
}

extension BusyDay.Hour {
    /// What has grown since `first`, an hour in which everything had its size already, and what went wrong.
    public func faults(since first: BusyDay.Hour) -> [String] {
        var found = BusyDay.Hour.grown(sizes, first.sizes) + BusyDay.Hour.grown(tables, first.tables)
        if refused > 0 { found.append("\(refused) requests were refused") }
        if waiting > first.waiting + 1_000 { found.append("\(waiting) wait, and \(first.waiting) did") }
        if Double(resident) > 1.05 * Double(first.resident) + 16e6 {
            found.append("\(resident / 1_000_000) MB are resident, and \(first.resident / 1_000_000) MB were")
        }
        return found
    }

    private static func grown(_ now: [String: Int], _ before: [String: Int]) -> [String] {
        now.sorted { $0.key < $1.key }.compactMap { name, count in
            let first = before[name] ?? 0
            return Double(count) > 1.2 * Double(first) + 5_000 ? "\(name) has \(count), and had \(first)" : nil
        }
    }
}

/// Every call succeeds after a millisecond.
private final class SteadyGate: StoreGate, @unchecked Sendable {
    private let scheduler: Scheduler
    init(_ scheduler: Scheduler) { self.scheduler = scheduler }

    func pass<R: Sendable>(_ call: StoreCall, weight: Int, _ body: @escaping @Sendable () -> R) async -> Result<R, StoreError> {
        await withCheckedContinuation { continuation in
            scheduler.after(.milliseconds(1)) { continuation.resume(returning: .success(body())) }
        }
    }
}

/// There is one instance.
private struct NoBus: EventBus {
    var health: BusHealth { .none }
    func publish(_ messages: [BusMessage], from sender: InstanceID) {}
    func subscribe(_ subscriber: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void) {}
}
