import Locks
import QueueService
import Testing
import TestSupport

@testable import Server

/// Keys of those who stay.
@Suite struct KeyWatchTests {
    private let key = KeyID(high: 1, low: 1)
    private let other = KeyID(high: 1, low: 2)

    /// However many hold keys, the store is asked about once a second for the whole process, about those keys, and not at all
    /// once nobody holds one.
    @Test func storeIsAskedOnceASecondForKeysInUse() async throws {
        let asked = Lock<[Set<KeyID>]>([])
        let watch = KeyWatch { keys in
            asked.withLock { $0.append(Set(keys)) }
            return Set(keys)
        }
        watch.add { _ in Issue.record("no key is revoked") }
        let began = ContinuousClock.now
        for _ in 0..<1_000 { watch.hold(key) }
        watch.hold(other)
        #expect(await eventually { asked.withLock { $0.count } >= 8 })
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        #expect(Double(asked.withLock { $0.count }) <= seconds / 0.7 + 3)
        #expect(asked.withLock { $0.last } == [key, other])
        for _ in 0..<1_000 { watch.release(key) }
        let before = asked.withLock { $0.count }
        #expect(await eventually { asked.withLock { $0.count } > before })
        #expect(asked.withLock { $0.last } == [other])
        watch.release(other)
        #expect(await eventually { !watch.isLooking })
    }

    @Test func holdersAreToldOfARevokedKeyAlsoOfOneThatWasRevokedJustBefore() async throws {
        let gone = Lock<Set<KeyID>>([])
        let told = Lock<[Set<KeyID>]>([])
        let watch = KeyWatch { keys in Set(keys).subtracting(gone.withLock { $0 }) }
        watch.add { revoked in told.withLock { $0.append(revoked) } }
        watch.hold(key)
        gone.withLock { $0 = [key] }
        #expect(await eventually { told.withLock { $0.last } == [key] })
        watch.release(key)
        gone.withLock { $0 = [key, other] }
        watch.hold(other)
        #expect(await eventually { told.withLock { $0.last } == [other] })
    }
}
