public import EventLoop
import Locks
public import Logging
import Metrics
public import QueueService
public import Telemetry

/// The bus between instances: Redis pub/sub. What it loses is read from the store when its lack is noticed.
///
/// A subscription can be connected, answer pings and deliver nothing, after a failover above all. So the instance sends
/// itself a heartbeat through the channel; where it has not come back for two seconds all is made anew.
public final class RedisBus: EventBus {
    private let loop: EventLoop
    private let link: LoopBound<RedisLink>
    private let state = Lock(BusHealth.down("not connected yet"))

    /// - Parameters:
    ///   - loop: best the service's: then what comes crosses no thread.
    ///   - secret: shared by the instances of a store, and by nobody else.
    public init(
        loop: EventLoop, address: RedisAddress, instance: InstanceID, secret: [UInt8], measurements: BusMeasurements, log: Logger
    ) {
        self.loop = loop
        let link = RedisLink(
            loop: loop, address: address, instance: instance, codec: BusCodec(secret: secret), measurements: measurements, log: log)
        self.link = LoopBound(link, to: loop)
    }

    public var health: BusHealth { state.withLock { $0 } }

    /// Begins to connect, and goes on trying.
    ///
    /// - Throws: where the server refuses us: to go on would be of no use.
    public func start() async throws(BusRefused) {
        let refusal = await withCheckedContinuation { (first: CheckedContinuation<String?, Never>) in
            loop.execute { [self] in
                link.onLoop.start { [self] health in
                    state.withLock { $0 = health }
                } first: {
                    first.resume(returning: $0)
                }
            }
        }
        if let refusal { throw BusRefused(reason: refusal) }
    }

    public func stop() {
        let link = link
        loop.execute { link.onLoop.stop() }
    }

    public func subscribe(_ subscriber: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void) {
        let link = link
        loop.execute { link.onLoop.receive = receive }
    }

    public func publish(_ messages: [BusMessage], from sender: InstanceID) {
        let link = link
        if loop.isOnLoop { link.onLoop.publish(messages) } else { loop.execute { link.onLoop.publish(messages) } }
    }
}

/// The second level of the cache, on the same connection. What is not there within a quarter of a second is not waited for.
extension RedisBus: SharedCache {
    public func value(for key: CacheKey) async -> CacheValue? {
        let link = link
        return await withCheckedContinuation { answer in
            loop.execute { link.onLoop.value(for: key) { answer.resume(returning: $0) } }
        }
    }

    public func keep(_ value: CacheValue, for key: CacheKey) {
        let link = link
        loop.execute { link.onLoop.keep(value, for: key) }
    }
}

/// A Redis that will not let this instance in.
public struct BusRefused: Error, Sendable {
    public let reason: String
}

/// The bus' connections, and whether they carry anything. Confined to its loop.
private final class RedisLink {
    private enum Stage {
        case stopped
        case connecting(RedisEndpoint)
        case linked(RedisEndpoint.Link)
        case pausing(TimerID)
    }

    private let loop: EventLoop
    private let address: RedisAddress
    private let instance: InstanceID
    private let codec: BusCodec
    private let measurements: BusMeasurements
    private let log: Logger
    var receive: (@Sendable ([BusMessage]) -> Void)?
    private var healthChanged: (BusHealth) -> Void = { _ in }
    /// Told how the first attempt ended: nil, or why we are not let in.
    private var first: ((String?) -> Void)?
    private var stage = Stage.stopped
    private var attempts = 0
    /// Attempts that have failed since it was last live.
    private var failures = 0
    private var isLive = false
    private var heartbeats: UInt64 = 0
    private var lastHeartbeat: UInt64 = 0
    private var lastHeard: UInt64 = 0

    /// The link was lost, and nothing has been logged of it.
    private var hasUnloggedLoss = false
    /// Until then no further loss is logged: a link that comes and goes would fill the log.
    private var quietUntil: UInt64 = 0
    /// The link's next success is logged, because its loss was, or because it is the first.
    private var logsWhenLive = true
    private static let quietNanoseconds: UInt64 = 5_000_000_000
    private static let heartbeatNanoseconds: UInt64 = 500_000_000
    private static let patienceNanoseconds: UInt64 = 2_000_000_000

    init(
        loop: EventLoop, address: RedisAddress, instance: InstanceID, codec: BusCodec, measurements: BusMeasurements, log: Logger
    ) {
        (self.loop, self.address, self.instance, self.codec) = (loop, address, instance, codec)
        (self.measurements, self.log) = (measurements, log)
    }

    func start(_ healthChanged: @escaping (BusHealth) -> Void, first: @escaping (String?) -> Void) {
        self.healthChanged = healthChanged
        self.first = first
        connect()
    }

    func stop() {
        close()
        stage = .stopped
    }

    private func close() {
        switch stage {
        case .stopped: break
        case .connecting(let endpoint): endpoint.cancel()
        case .linked(let link):
            link.speaking.close()
            link.listening.close()
        case .pausing(let timer): loop.cancel(timer)
        }
    }

    // MARK: Connecting

    private func connect() {
        attempts += 1
        stage = .connecting(
            RedisEndpoint(loop: loop, address: address, turn: attempts - 1) { [weak self] payload in
                self?.take(payload)
            } completed: { [weak self] result in
                switch result {
                case .success(let link): self?.linked(link)
                case .failure(let failure): self?.fail(failure)
                }
            })
    }

    private func linked(_ link: RedisEndpoint.Link) {
        stage = .linked(link)
        link.speaking.ended = { [weak self] in self?.fail($0) }
        link.listening.ended = { [weak self] in self?.fail($0) }
        lastHeard = loop.now
        beat(link)
    }

    private func fail(_ failure: RedisFailure) {
        close()
        let wasLive = isLive
        isLive = false
        // At the start a refusal ends the program, which says why.
        hasUnloggedLoss = hasUnloggedLoss || wasLive || failures == 0 && !(first != nil && failure.isRefusal)
        if hasUnloggedLoss, loop.now >= quietUntil {
            hasUnloggedLoss = false
            quietUntil = loop.now + RedisLink.quietNanoseconds
            logsWhenLive = true
            log.warning(
                "Redis carries nothing; what others do is read from the store every second",
                metadata: ["redis": "\(address)", "reason": "\(failure.reason)"])
        }
        failures += 1
        measurements.isLive.set(0)
        measurements.linksLost.increment()
        healthChanged(.down(failure.reason))
        tellFirst(failure.isRefusal ? failure.reason : nil)
        let longest = min(UInt64(2_000), 100 << UInt64(min(failures, 5)))
        let pause = UInt64.random(in: longest / 2...longest) * 1_000_000
        stage = .pausing(loop.schedule(after: pause) { [weak self] in self?.connect() })
    }

    private func tellFirst(_ refusal: String?) {
        first?(refusal)
        first = nil
    }

    // MARK: Alive or not

    /// Says something to itself every half second, for as long as this link is the one in use.
    private func beat(_ link: RedisEndpoint.Link) {
        guard case .linked(let current) = stage, current.speaking === link.speaking else { return }
        guard loop.now - lastHeard <= RedisLink.patienceNanoseconds else {
            return fail(RedisFailure("its own heartbeat has not come back for two seconds"))
        }
        heartbeats += 1
        say(codec.encode(.heartbeat(heartbeats), from: instance), link)
        if case .sentinel = address.kind {
            RedisEndpoint.checkIsMaster(link.speaking) { [weak self] in if let failure = $0 { self?.fail(failure) } }
        }
        loop.schedule(after: RedisLink.heartbeatNanoseconds) { [weak self] in self?.beat(link) }
    }

    private func heard() {
        lastHeard = loop.now
        guard !isLive, case .linked = stage else { return }
        isLive = true
        failures = 0
        measurements.isLive.set(1)
        if logsWhenLive { log.notice("Redis carries what instances tell each other", metadata: ["redis": "\(address)"]) }
        (logsWhenLive, hasUnloggedLoss) = (false, false)
        healthChanged(.live)
        tellFirst(nil)
    }

    // MARK: Speaking and listening

    func publish(_ messages: [BusMessage]) {
        guard case .linked(let link) = stage else { return }
        for bytes in codec.encode(messages, from: instance) { say(bytes, link) }
        measurements.published.increment(by: messages.count)
    }

    private func say(_ bytes: [UInt8], _ link: RedisEndpoint.Link) {
        let verb = link.isSharded ? "SPUBLISH" : "PUBLISH"
        link.speaking.command([Array(verb.utf8), Array(address.channel.utf8), bytes]) { [weak self] reply in
            if case .error(let answer) = reply { self?.fail(RedisFailure(answer: answer)) }
        }
    }

    // MARK: Keeping

    private static let cacheNanoseconds: UInt64 = 250_000_000
    /// Nothing becomes wrong with time; but a key that nobody asks for is not there for ever.
    private static let cacheSeconds = "600"
    /// Bytes that may wait for Redis before nothing more is given to it to keep: what is told comes first.
    private static let cacheBacklog = 262_144

    private var cache: CacheCodec { CacheCodec(signer: codec, instance: instance) }

    /// The link, where it carries something and keys are at the node that it leads to.
    private var cacheLink: RedisEndpoint.Link? {
        guard isLive, case .linked(let link) = stage else { return nil }
        if case .cluster = address.kind { return link.isSharded ? link : nil }
        return link
    }

    /// In a cluster a key lies where the channel does.
    private func name(_ key: CacheKey) -> [UInt8] {
        let subject =
            switch key.subject {
            case .page(let page): "page:\(page)"
            case .averageWait(let seq): "wait:\(seq)"
            }
        return Array("{\(address.channel)}:\(key.queue):\(key.epoch):\(subject)".utf8)
    }

    func value(for key: CacheKey, _ answered: @escaping (CacheValue?) -> Void) {
        guard let link = cacheLink else { return answered(nil) }
        var answered: ((CacheValue?) -> Void)? = answered
        let timer = loop.schedule(after: RedisLink.cacheNanoseconds) {
            answered?(nil)
            answered = nil
        }
        link.speaking.command([Array("GET".utf8), name(key)]) { [weak self] reply in
            guard let self, let answer = answered else { return }
            answered = nil
            loop.cancel(timer)
            guard case .bytes(let bytes) = reply else { return answer(nil) }
            do throws(BusRefusal) { answer(try cache.decode(bytes, for: key)) } catch {
                measurements.refused(error)
                answer(nil)
            }
        }
    }

    func keep(_ value: CacheValue, for key: CacheKey) {
        guard let link = cacheLink, link.speaking.unsentBytes < RedisLink.cacheBacklog, let bytes = cache.encode(value, for: key) else {
            return
        }
        link.speaking.command([Array("SET".utf8), name(key), bytes, Array("EX".utf8), Array(RedisLink.cacheSeconds.utf8)]) { _ in }
    }

    private func take(_ payload: [UInt8]) {
        do throws(BusRefusal) {
            let (sender, content) = try codec.decode(payload)
            switch content {
            // One that was heard before is an echo, whoever made it.
            case .heartbeat(let number):
                guard sender == instance, number > lastHeartbeat, number <= heartbeats else { return }
                lastHeartbeat = number
                heard()
            case .messages(let messages):
                guard sender != instance else { return }
                measurements.received.increment(by: messages.count)
                receive?(messages)
            }
        } catch {
            measurements.refused(error)
        }
    }
}
