import Foundation
import Testing

@testable import Telemetry

/// Config/alerts.yml has the thresholds of `Targets`.
@Suite struct TargetsTests {
    private static let limits: [(alerts: [String], limit: Targets.Limit)] = [
        (["StanchionResponsesSlow", "StanchionResponsesVerySlow"], Targets.responseP95),
        (["StanchionErrors", "StanchionManyErrors"], Targets.errors),
        (["StanchionProcessorBusy", "StanchionProcessorFull"], Targets.processor),
        (["StanchionMemoryShort", "StanchionMemoryFull"], Targets.memory),
        (["StanchionDiskShort", "StanchionDiskFull"], Targets.disk),
        (["StanchionNetworkBusy", "StanchionNetworkFull"], Targets.network),
        (["StanchionStorePoolBusy", "StanchionStorePoolFull"], Targets.pool),
        (["StanchionReleasesLate", "StanchionReleasesVeryLate"], Targets.processing),
        (["StanchionAdmissionsLate"], Targets.admissionDelayP99),
        (["StanchionLoopStarved"], Targets.loopTurn),
        (["StanchionStorePoolExhausted"], Targets.storeWait),
    ]
    private static let others: [String: Double] = [
        "StanchionDescriptorsShort": Targets.descriptors.critical!, "StanchionBusyForNothing": Targets.idleProcessors,
    ]
    /// Something happened at all, or is so.
    private static let conditions: Set<String> = [
        "StanchionInstanceDown", "StanchionStoreDown", "StanchionQueueStale", "StanchionBusDown", "StanchionBusForged",
        "StanchionReplicaBehind", "StanchionVisitorsRefused", "StanchionIdleTicks",
    ]
    /// Pace at which the month's budget of errors is used up, and a count.
    private static let ownNumbers: [String: [Double]] = [
        "StanchionErrorBudgetBurnsFast": [14.4, 14.4, 6, 6], "StanchionErrorBudgetBurnsSlowly": [3, 3, 0.001, 0.001],
        "StanchionDeadlocks": [3],
    ]

    /// The numbers that an alert's expression compares with, in order.
    private func thresholds() throws -> [String: [Double]] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../Config/alerts.yml")
        let rules = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "- alert: ").dropFirst()
        return Dictionary(
            uniqueKeysWithValues: rules.map { rule in
                let expression = rule.components(separatedBy: "expr:")[1].components(separatedBy: "for:")[0]
                    .components(separatedBy: "labels:")[0]
                let numbers = expression.matches(of: /(?:>|==|<)\s*([0-9.]+)/).map { Double($0.1)! }
                return (String(rule.prefix { !$0.isNewline }), numbers)
            })
    }

    @Test func alertsHaveTheThresholdsOfTheKPIs() throws {
        var thresholds = try self.thresholds()
        for (alerts, limit) in TargetsTests.limits {
            for (alert, expected) in zip(alerts, [limit.warning, limit.critical ?? .nan]) {
                let found = thresholds.removeValue(forKey: alert)
                #expect(found == [expected], "\(alert)")
            }
        }
        for (alert, expected) in TargetsTests.others {
            let found = thresholds.removeValue(forKey: alert)
            #expect(found?.first == expected, "\(alert)")
        }
        for alert in TargetsTests.conditions {
            let found = thresholds.removeValue(forKey: alert)
            #expect(found?.allSatisfy { $0 <= 1 } == true, "\(alert)")
        }
        for (alert, expected) in TargetsTests.ownNumbers {
            let found = thresholds.removeValue(forKey: alert) ?? []
            // A pace, times what may fail: `14.4 * 0.001`.
            #expect(found.count == expected.count && zip(found, expected).allSatisfy { $0 == $1 }, "\(alert)")
        }
        #expect(thresholds.isEmpty, "an alert whose threshold no target has: \(thresholds.keys)")
    }

    @Test func limitsAreInOrder() {
        for (_, limit) in TargetsTests.limits {
            #expect(limit.warning <= limit.critical ?? .infinity)
            #expect(limit.state(of: limit.warning) == .ok && limit.state(of: limit.warning * 1.001) != .ok)
        }
    }
}
