public import QueueService
import Locks

/// The bus of a single process: everyone else who subscribed gets the message.
public final class InProcessBus: EventBus {
    private struct Subscriber: Sendable {
        let instance: InstanceID
        let receive: @Sendable ([BusMessage]) -> Void
    }

    private let subscribers = Lock<[Subscriber]>([])

    public init() {}

    public var health: BusHealth { .none }

    public func subscribe(_ subscriber: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void) {
        let entry = Subscriber(instance: subscriber, receive: receive)
        subscribers.withLock { $0.append(entry) }
    }

    public func publish(_ messages: [BusMessage], from sender: InstanceID) {
        let others = subscribers.withLock { all in all.filter { $0.instance != sender } }
        for other in others { other.receive(messages) }
    }
}
