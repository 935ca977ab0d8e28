import EventLoop
import QueueService
import Locks

/// What each address, and all together, may do. One for all loops: it is asked once a connection, a handshake and a
/// join, never for a message.
final class AddressLimits: Sendable {
    enum Verdict: Equatable {
        case granted
        /// Refused, and how long it makes sense to wait.
        case refused(seconds: Int)
    }

    private struct Entry {
        var connections: UInt32 = 0
        var requests = TokenBucket()
        var handshakes = TokenBucket()
        var secureHandshakes = TokenBucket()
        var joins = TokenBucket()
        var refusedUntil: UInt32 = 0

        func isIdle(at now: UInt32, _ limits: LimitSettings) -> Bool {
            connections == 0 && requests.isFull(at: now, limits.requestsPerAddress)
                && handshakes.isFull(at: now, limits.handshakesPerAddress)
                && secureHandshakes.isFull(at: now, limits.secureHandshakesPerAddress) && joins.isFull(at: now, limits.joinsPerAddress)
                && Int32(bitPattern: refusedUntil &- now) <= 0
        }
    }

    private struct State {
        var addresses: [AddressGroup: Entry] = [:]
        var queues: [QueueID: TokenBucket] = [:]
        var handshakes = TokenBucket()
        var total = 0
        var sweepAt = AddressLimits.firstSweep
        var sweepQueuesAt = AddressLimits.firstSweep
    }

    /// Tables smaller than this are not swept.
    private static let firstSweep = 4_096

    private let state = Lock(State())
    private let limits: LimitSettings

    init(_ limits: LimitSettings) { self.limits = limits }

    /// Who is counted behind `address`: loopback peers only by a setting, since proxies and load tests stand there.
    func group(_ address: SocketAddress) -> AddressGroup {
        address.isLoopback && !limits.countsLoopback ? .none : AddressGroup(address)
    }

    var addressCount: Int { state.withLock { $0.addresses.count } }
    var queueCount: Int { state.withLock { $0.queues.count } }

    // MARK: Connections

    /// Counts a connection in all; false where there are as many as may be.
    func open() -> Bool {
        state.withLock { state in
            guard state.total < limits.connections else { return false }
            state.total += 1
            return true
        }
    }

    func close() { state.withLock { $0.total -= 1 } }

    var connectionCount: Int { state.withLock { $0.total } }

    /// Counts a connection of an address.
    func connect(_ group: AddressGroup) -> Verdict {
        change(group) { entry, now in
            guard entry.connections < limits.connectionsPerAddress else { return .refused(seconds: 30) }
            // Opening one costs as much as a request, also where none comes.
            guard entry.requests.take(at: now, limits.requestsPerAddress) else { return .refused(seconds: 1) }
            entry.connections += 1
            return .granted
        }
    }

    /// Charges a request without a key to its address.
    func request(_ group: AddressGroup) -> Verdict {
        change(group) { entry, now in entry.requests.take(at: now, limits.requestsPerAddress) ? .granted : .refused(seconds: 1) }
    }

    func disconnect(_ group: AddressGroup) {
        guard group != .none else { return }
        state.withLock { state in
            guard let index = state.addresses.index(forKey: group), state.addresses.values[index].connections > 0 else { return }
            state.addresses.values[index].connections -= 1
        }
    }

    // MARK: What they do

    /// Charges a WebSocket handshake to its address and to all, or to neither.
    func handshake(_ group: AddressGroup) -> Verdict {
        let now = AddressLimits.now()
        return state.withLock { state in
            forgetIdle(&state, now)
            // The address first: who is refused for it takes nothing from the others.
            var entry = state.addresses[group] ?? Entry()
            if group != .none {
                let pause = Int32(bitPattern: entry.refusedUntil &- now)
                // No longer than a refusal ever is: another number is one that the clock has lapped.
                if pause > 0, pause <= limits.refusalSeconds * 1_000 { return .refused(seconds: Int(pause) / 1_000 + 1) }
                guard entry.handshakes.take(at: now, limits.handshakesPerAddress) else { return .refused(seconds: 5) }
            }
            guard state.handshakes.take(at: now, limits.handshakes) else { return .refused(seconds: 2) }
            if group != .none { state.addresses[group] = entry }
            return .granted
        }
    }

    /// Charges a TLS handshake, which is to be computed, to its address.
    func secureHandshake(_ group: AddressGroup) -> Verdict {
        change(group) { entry, now in
            entry.secureHandshakes.take(at: now, limits.secureHandshakesPerAddress) ? .granted : .refused(seconds: 5)
        }
    }

    /// Charges a join to its address and its queue, or to neither.
    ///
    /// - Parameter queue: one that exists.
    func join(_ group: AddressGroup, _ queue: QueueID) -> Verdict {
        let now = AddressLimits.now()
        return state.withLock { state in
            forgetIdle(&state, now)
            // The address first: who is refused for it takes nothing from the others in the queue.
            var entry = state.addresses[group] ?? Entry()
            guard group == .none || entry.joins.take(at: now, limits.joinsPerAddress) else { return .refused(seconds: 5) }
            guard state.queues[queue, default: TokenBucket()].take(at: now, limits.joinsPerQueue) else { return .refused(seconds: 2) }
            if group != .none { state.addresses[group] = entry }
            return .granted
        }
    }

    /// Takes no handshake from the address for a little while: it was closed for being too loud.
    func refuse(_ group: AddressGroup) {
        _ = change(group) { entry, now in
            entry.refusedUntil = now &+ UInt32(limits.refusalSeconds) * 1_000
            return .granted
        }
    }

    private func change(_ group: AddressGroup, _ body: (inout Entry, UInt32) -> Verdict) -> Verdict {
        guard group != .none else { return .granted }
        let now = AddressLimits.now()
        return state.withLock { state in
            forgetIdle(&state, now)
            return body(&state.addresses[group, default: Entry()], now)
        }
    }

    /// Forgets the addresses and queues of which nothing is known any more, all at once whenever there are twice as many as
    /// last time.
    private func forgetIdle(_ state: inout State, _ now: UInt32) {
        if state.addresses.count >= state.sweepAt {
            state.addresses = state.addresses.filter { !$0.value.isIdle(at: now, limits) }
            state.sweepAt = max(AddressLimits.firstSweep, state.addresses.count * 2)
        }
        if state.queues.count >= state.sweepQueuesAt {
            state.queues = state.queues.filter { !$0.value.isFull(at: now, limits.joinsPerQueue) }
            state.sweepQueuesAt = max(AddressLimits.firstSweep, state.queues.count * 2)
        }
    }

    private static func now() -> UInt32 { UInt32(truncatingIfNeeded: EventLoop.monotonicNow() / 1_000_000) }
}
