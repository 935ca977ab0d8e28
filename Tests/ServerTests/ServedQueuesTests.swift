import QueueEngine
import Testing

@testable import QueueService
@testable import Server

/// The names of the queues that are served here, as they change.
@Suite struct ServedQueuesTests {
    private let served = ServedQueues()
    private let first = QueueID(high: 1, low: 1)
    private let second = QueueID(high: 1, low: 2)
    private let tenant = TenantID(high: 2, low: 1)
    private let stranger = TenantID(high: 2, low: 2)

    private func serve(_ id: QueueID, slug: String) {
        let record = QueueRecord(
            id: id, tenant: tenant, epoch: 1, slug: slug, name: "", configuration: QueueConfiguration(), createdAt: Timestamp(seconds: 1))
        let snapshot = QueueSnapshot(record: record, state: QueueState(record.configuration), at: Timestamp(seconds: 1))
        served.queueChanged(QueueUpdate(snapshot: snapshot, events: [], announcements: []))
    }

    @Test func queueIsFoundByIdAndBySlugOfItsTenantOnly() {
        serve(first, slug: "one")
        for name in [first.description, "one"] {
            #expect(served.queue(named: name, tenant: nil) == first)
            #expect(served.queue(named: name, tenant: tenant) == first)
            #expect(served.queue(named: name, tenant: stranger) == nil)
        }
        #expect(served.queue(named: second.description, tenant: nil) == nil)
        #expect(served.queue(named: "two", tenant: nil) == nil)
    }

    /// Word of the new owner may come before or after that of the old one.
    @Test(arguments: [false, true]) func slugLeadsToItsNewOwner(isGivenUpFirst: Bool) {
        serve(first, slug: "sale")
        if isGivenUpFirst { serve(first, slug: "old-sale") }
        serve(second, slug: "sale")
        if !isGivenUpFirst { serve(first, slug: "old-sale") }
        #expect(served.queue(named: "sale", tenant: nil) == second)
        #expect(served.queue(named: "old-sale", tenant: nil) == first)
        served.queueRemoved(first)
        #expect(served.queue(named: "sale", tenant: nil) == second)
    }

    @Test func queueAtRestIsNotFound() {
        serve(first, slug: "one")
        served.queueRested(first)
        #expect(served.queue(named: "one", tenant: nil) == nil)
        #expect(served.queue(named: first.description, tenant: nil) == nil)
    }
}
