import Foundation
import QueueEngine
import TestSupport
import Testing

@testable import QueueService

/// Names that strangers make up are looked for in the store a few at once.
@Suite struct LookUpTests {
    private func madeUp(_ seed: Int, _ instances: Instances) -> QueueID {
        SeededSource(seed: UInt64(seed)).identifier(at: instances.clock.now())
    }

    /// One address asks for made-up queues while the store takes its time: it is refused, and another address is not.
    @Test(.timeLimit(.minutes(10))) func addressUsesUpItsOwnShareOfLookUps() async throws {
        let instances = try await Instances(.postgres, count: 1)
        let service = instances.services[0]
        let folder = TemporaryFolder()
        let lock = folder.file("lock")
        try instances.home.lock("queues", while: lock)
        #expect(await eventually { FileManager.default.fileExists(atPath: lock) })
        let greedy = Task { [instances] in
            await withTaskGroup(of: ServiceError?.self) { group in
                for number in 0..<200 {
                    // By id and by slug: they share a share.
                    let name = number % 2 == 0 ? "\(madeUp(number, instances))" : "made-up-\(number)"
                    group.addTask {
                        do throws(ServiceError) { _ = try await service.resolve(name, address: 1) } catch { return error }
                        return nil
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        let share = LookUpCaller.address(1).share
        #expect(await eventually { await service.lookUps.count + service.slugLookUps.count == share })
        let other = Task { [name = "\(madeUp(1_000, instances))"] in
            do throws(ServiceError) { _ = try await service.resolve(name, address: 2) } catch { return error as ServiceError? }
            return nil
        }
        // On a slow machine the first of them may be given up meanwhile: the store has not answered in time.
        #expect(await eventually { await service.lookUps.count + service.slugLookUps.count != share })
        try FileManager.default.removeItem(atPath: lock)
        let refused = ServiceError.tooManyLookUps(retryAfterSeconds: 1)
        #expect(await greedy.value.count { $0 == refused } == 200 - share)
        #expect(await other.value != refused)
        #expect(await service.lookUpShares.isEmpty)
    }
}
