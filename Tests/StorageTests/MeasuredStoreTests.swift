import QueueEngine
import QueueService
import Storage
import Telemetry
import Testing
import TestSupport

@Suite struct MeasuredStoreTests {
    @Test func whatBecameOfItIsCounted() async throws {
        let home = try await TestStore(.sqlite)
        let measurements = Measurements()
        let store = MeasuredStore(try await home.open(), measurements.store)
        let tenant = TenantID(high: 1, low: 1)
        try await store.insert(Tenant(id: tenant, name: "t"))
        try await store.takeLease()
        var queue = Written(tenant)
        #expect(try await store.append([queue.append { try $0.configure(QueueConfiguration(), at: $1, &$2) }]) == [.committed])
        let join = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        #expect(try await store.append([join]) == [.committed])
        #expect(try await store.append([join]) == [.behind])
        // What a batch's outcomes say went wrong is an error as one that is thrown.
        var refused = try queue.append { _ = try $0.join(lane: 0, at: $1, &$2) }
        refused.events[0].detail = .session(SessionID(high: 1, low: 1), Visitor(displayName: "a\0b"))
        guard case .failed(.rejected) = try await store.append([refused])[0] else { return #expect(Bool(false), "it was not refused") }
        store.close()
        await #expect(throws: StoreError.self) { try await store.loadQueue(queue.record.id) }
        let text = measurements.registry.text()
        for line in [
            "stanchion_store_appends_total{outcome=\"committed\"} 2", "stanchion_store_appends_total{outcome=\"behind\"} 1",
            "stanchion_store_operation_duration_seconds_count{operation=\"append\"} 4", "stanchion_store_batch_queues_count 4",
            "stanchion_store_errors_total{kind=\"unavailable\"} 1", "stanchion_store_errors_total{kind=\"rejected\"} 1",
        ] { #expect(text.contains(line + "\n"), "\(line)") }
    }
}
