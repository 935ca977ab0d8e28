public import QueueService
import Locks
import Synchronization

/// The bus of a single process: everyone else who subscribed gets the message.
public final class InProcessBus: EventBus {
    private struct Subscriber: Sendable {
        let identity: ObjectIdentifier
        let receive: @Sendable ([BusMessage]) -> Void
    }

    private let subscribers = Lock<[Subscriber]>([])

    public init() {}

    public var health: BusHealth { .none }

    public func subscribe(_ subscriber: AnyObject, _ receive: @escaping @Sendable ([BusMessage]) -> Void) {
        let entry = Subscriber(identity: ObjectIdentifier(subscriber), receive: receive)
        subscribers.withLock { $0.append(entry) }
    }

    public func publish(_ messages: [BusMessage], from sender: AnyObject) {
        let others = subscribers.withLock { [sender = ObjectIdentifier(sender)] all in all.filter { $0.identity != sender } }
        for other in others { other.receive(messages) }
    }
}
