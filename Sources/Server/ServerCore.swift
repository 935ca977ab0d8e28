import EventLoop
import HTTPTypes
import Logging
import Metrics
import QueueEngine
import QueueService
import Locks
import Synchronization
import Telemetry

/// What all loops of a server share. It translates; what happens to a queue is decided in `QueueService`.
final class ServerCore: Sendable {
    let settings: ServerSettings
    let store: any QueueStore
    let service: QueueService
    let clock: SystemClock
    let random = SystemRandom()
    let keys: KeyRing
    let limits: AddressLimits
    let browsers: BrowserPolicy
    let memory = MemoryGuard()
    let measurements: Measurements
    /// nil: nothing is traced.
    let slow: SlowOperations?
    let log: Logger
    let secrets: SecretRing
    let ended: EndedSessions
    let served = ServedQueues()
    /// What TLS connections begin with from here on; nil: plain.
    private let certificates: Lock<TLSContext?>
    private let tickets: TLSTicketKeys
    let loops = Lock<[LiveHandle]>([])
    let record = Lock(Record())
    let isProfiling = Atomic(false)
    private let hasWarnedOfUnreadField = Atomic(false)
    private let serials = Atomic<UInt32>(1)

    /// A loop's live connections, to be reached on that loop.
    struct LiveHandle: Sendable {
        let loop: EventLoop
        let live: LoopBound<LiveLoop>
    }

    init(
        settings: ServerSettings, store: any QueueStore, service: QueueService, clock: SystemClock, measurements: Measurements,
        slow: SlowOperations?, secrets: SecretRing, log: Logger
    ) throws(TLSError) {
        self.settings = settings
        self.store = store
        self.service = service
        self.clock = clock
        self.measurements = measurements
        self.slow = slow
        self.log = log
        keys = KeyRing(store: store)
        limits = AddressLimits(settings.limits)
        browsers = BrowserPolicy(settings)
        let tickets = TLSTicketKeys(rotationSeconds: settings.ticketSeconds)
        self.tickets = tickets
        certificates = Lock(try settings.tls.map { files throws(TLSError) in try TLSContext(files, tickets: tickets) })
        self.secrets = secrets
        ended = EndedSessions { [service] id throws(ServiceError) in try await service.session(id) }
    }

    /// The store was restored from an older copy: gives it back the secrets that it has lost, and tries for a minute.
    func restoreSecrets() async {
        for _ in 0..<60 {
            do throws(StoreError) {
                let written = try await secrets.restore(to: store)
                if !written.isEmpty { log.notice("secrets were written back to the store", metadata: ["secrets": "\(written)"]) }
                return
            } catch {
                log.warning("secrets could not be written back to the store", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    var tokens: SessionTokens { secrets.tokens }
    var admissions: AdmissionSigner { secrets.admissions }

    var tls: TLSContext? { certificates.withLock { $0 } }

    /// Reads the certificates anew. Connections keep those that they began with.
    ///
    /// - Throws: where they are bad; then the old ones stay.
    func renewCertificates() throws(TLSError) {
        guard let files = settings.tls else { return }
        let context = try TLSContext(files, tickets: tickets)
        certificates.withLock { $0 = context }
    }

    func makeRouter() -> Router {
        var router = Router(browsers: browsers, measurements: measurements.http, slow: slow, log: log)
        addVisitorRoutes(&router)
        addQueueRoutes(&router)
        addSessionRoutes(&router)
        addKeyRoutes(&router)
        addStatusRoutes(&router)
        addSystemRoutes(&router)
        return router
    }

    /// Makes the live side of a loop and lets it follow every queue.
    func attach(_ loop: EventLoop, _ router: Router) -> LiveHandle {
        let handle = LiveHandle(loop: loop, live: LoopBound(LiveLoop(loop: loop, server: self, router: router), to: loop))
        loops.withLock { $0.append(handle) }
        return handle
    }

    func token(queue: QueueID, session: SessionID, ticket: Ticket, user: String?, at now: Timestamp) -> String {
        tokens.make(
            SessionClaims(
                queue: queue, session: session, ticket: ticket, user: user, expiresAt: now + .seconds(settings.sessionTokenSeconds)))
    }

    /// What the others may send here when they go: less where there is little time or memory left.
    func capacity(_ load: LoadMeter) -> Capacity {
        let room = memory.isShort ? 0 : max(0, settings.limits.connections - limits.connectionCount)
        return Capacity(room: room, arrivalsPerSecond: max(20, Int(Double(settings.limits.arrivalsPerSecond) * (1 - load.share))))
    }

    /// Warns, once, of a trusted proxy that names its clients in a field that is not read: all of them count as one then.
    func warnOfUnreadField(_ fields: HTTPFields, from peer: SocketAddress) {
        let limits = settings.limits
        guard !hasWarnedOfUnreadField.load(ordering: .relaxed), limits.isTrusted(peer), !limits.expectsProxyHeader,
            let field = ClientAddress.unreadField(fields, in: limits.clientAddressField),
            !hasWarnedOfUnreadField.exchange(true, ordering: .relaxed)
        else { return }
        log.warning(
            "a trusted proxy names its clients in a field that is not read: all of them count as one address",
            metadata: ["proxy": "\(peer)", "field": "\(field)", "client-address-header": "\(limits.clientAddressField)"])
    }

    func nextSerial() -> UInt32 { serials.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Closes older connections of the ticket, on whatever loop they are.
    func replaceOthers(queue: QueueID, ticket: Ticket, olderThan entry: LiveVisitor.Entry) {
        for handle in loops.withLock({ $0 }) {
            handle.loop.execute { handle.live.onLoop.replace(queue, ticket, olderThan: entry) }
        }
    }
}

/// Passes what the service tells on to a loop, in order.
struct LoopObserver: QueueObserver {
    let handle: ServerCore.LiveHandle

    func queueChanged(_ update: QueueUpdate) { handle.loop.execute { handle.live.onLoop.apply(update) } }
    func queueRemoved(_ queue: QueueID) { handle.loop.execute { handle.live.onLoop.remove(queue) } }
    func queueRested(_ queue: QueueID) { handle.loop.execute { handle.live.onLoop.rest(queue) } }
    func stalenessChanged(_ since: Timestamp?) { handle.loop.execute { handle.live.onLoop.becomeStale(since: since) } }
}
