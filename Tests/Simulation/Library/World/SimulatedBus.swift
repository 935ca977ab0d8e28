import QueueEngine
import QueueService

/// The bus as one process sees it. What it carries may be lost, come twice, late, or in another order.
final class SimulatedBus: EventBus, @unchecked Sendable {
    private unowned let world: World
    private var subscriber: InstanceID?

    init(_ world: World) { self.world = world }

    var health: BusHealth { world.isBusAway || !world.options.hasBus ? .down("simulated") : .live }

    func publish(_ messages: [BusMessage], from sender: InstanceID) { world.carry(messages, from: sender) }

    func subscribe(_ subscriber: InstanceID, _ receive: @escaping @Sendable ([BusMessage]) -> Void) {
        self.subscriber = subscriber
        world.joinBus(subscriber, receive)
    }

    func stop() { if let subscriber { world.leaveBus(subscriber) } }
}
