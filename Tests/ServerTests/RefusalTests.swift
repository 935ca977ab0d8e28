import QueueEngine
import QueueService
import Testing

@testable import Server

@Suite struct RefusalTests {
    /// What a queue refuses for a reason of its own uses up no error budget: that counts 5xx (Config/alerts.yml, `KPI`).
    @Test(arguments: [
        QueueRefusal.closed, .full, .noSuchLane, .notAdmitted, .ended, .wrongStatus(.paused), .closesAtHasPassed, .closesAtIsPast,
        .closesBeforeOpening, .notScheduled,
    ]) func refusalOfAQueueIsNoServerError(_ refusal: QueueRefusal) {
        let status = Problem(ServiceError.refused(refusal)).status.code
        #expect((400..<500).contains(status), "\(refusal): \(status)")
    }
}
