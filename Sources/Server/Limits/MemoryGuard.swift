import Foundation
import Synchronization

/// Watches how much of its control group's memory is used, so that new connections are refused before the kernel ends
/// the process and everybody in it. Without a limit it watches nothing.
final class MemoryGuard: Sendable {
    /// Of the limit: from here on nobody new, and below that again everybody.
    private static let (high, low) = (0.90, 0.85)

    private let short = Atomic(false)
    private let group: ControlGroup.Memory?

    init() { group = ControlGroup.memory() }

    var isShort: Bool { short.load(ordering: .relaxed) }

    /// Bytes that are used, and that there are: of the control group, or of the machine where no group has a limit.
    func figures() -> (used: Int, limit: Int)? {
        if let group, let used = group.used() { return (used, group.limit) }
        let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
        func kilobytes(_ name: String) -> Int? {
            text.split(separator: "\n").first { $0.hasPrefix(name) }.flatMap { Int($0.split(separator: " ")[1]) }
        }
        guard let all = kilobytes("MemTotal:"), let free = kilobytes("MemAvailable:") else { return nil }
        return (1_024 * (all - free), 1_024 * all)
    }

    /// Looks once; to be called about once a second. Returns whether something has changed.
    func look() -> Bool {
        guard let group, let used = group.used() else { return false }
        let share = Double(used) / Double(group.limit)
        let isShort = isShort ? share > MemoryGuard.low : share > MemoryGuard.high
        return short.exchange(isShort, ordering: .relaxed) != isShort
    }
}
