import Foundation
import QueueEngine
import Testing

/// What earlier versions have stored is read by this one.
@Suite struct StoredFormTests {
    private func decode<Value: Decodable>(_ text: String) throws -> Value { try JSONDecoder().decode(Value.self, from: Data(text.utf8)) }

    @Test func configurationWithoutSettleSecondsHasTheDefault() throws {
        let configuration: QueueConfiguration = try decode(
            """
            {"maxConcurrentUsers":7,"releaseRatePerMinute":8,"graceSeconds":9,"admissionTTLSeconds":10,
             "priorityLanes":[{"name":"a","sharePercent":20}]}
            """)
        var expected = QueueConfiguration(maxConcurrentUsers: 7, releaseRatePerMinute: 8, graceSeconds: 9, admissionTTLSeconds: 10)
        expected.priorityLanes = [PriorityLane(name: "a", sharePercent: 20)]
        #expect(configuration == expected)
        #expect(configuration.settleSeconds == 15)
    }

    @Test func configurationSurvivesBeingStored() throws {
        let configuration = QueueConfiguration(
            maxConcurrentUsers: 1, releaseRatePerMinute: 2, graceSeconds: 3, admissionTTLSeconds: 4, maxWaiting: 5,
            opensAt: Timestamp(seconds: 6), closesAt: Timestamp(seconds: 7), settleSeconds: 8,
            priorityLanes: [PriorityLane(name: "a", sharePercent: 9)])
        let stored = String(decoding: try JSONEncoder().encode(configuration), as: UTF8.self)
        #expect(try decode(stored) == configuration)
    }

    @Test func countersWithoutLossesHaveNone() throws {
        let counters: QueueCounters = try decode(#"{"next":[5],"pass":[0],"anchor":1700000000000000000}"#)
        #expect(counters.next == [5] && counters.losses == nil && counters.watchedSince == nil)
        var image = QueueImage(
            configuration: QueueConfiguration(), status: .open, head: 9, lastEventAt: Timestamp(seconds: 1_700_000_000), counters: counters)
        image.waiting = (1...4).map { (Ticket(lane: 0, number: $0), $0 == 1 ? Timestamp(seconds: 1_699_999_999) : nil) }
        // The line waits for nobody.
        var state = QueueState(image)
        var log: [QueueEvent] = []
        state.advance(to: Timestamp(seconds: 1_700_000_002), &log)
        #expect(log.first?.change == .admitted(Ticket(lane: 0, number: 2), until: Timestamp(seconds: 1_700_000_602)))
    }
}
