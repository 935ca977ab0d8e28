import Fanout
import QueueEngine
import QueueService
import Locks
import Testing

@Suite struct InProcessBusTests {
    private final class Instance: Sendable {
        let id: InstanceID
        init(_ number: UInt64) { id = InstanceID(high: 0, low: number) }
        let received = Lock<[BusMessage]>([])
        var count: Int { received.withLock { $0.count } }
    }

    @Test func everybodyElseGetsTheMessage() {
        let bus = InProcessBus()
        let instances = (0..<3).map { Instance($0) }
        for instance in instances { bus.subscribe(instance.id) { messages in instance.received.withLock { $0 += messages } } }
        let event = QueueEvent(seq: 1, at: Timestamp(seconds: 1), change: .opened)
        bus.publish([BusMessage(queue: QueueID(high: 1, low: 1), epoch: 7, head: 1, previous: nil, events: [event])], from: instances[1].id)
        #expect(instances.map(\.count) == [1, 0, 1])
        #expect(instances[0].received.withLock { $0[0].events } == [event])
    }
}
