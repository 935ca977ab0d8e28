import Foundation
import Synchronization

/// Watches how much of its control group's memory is used, so that new connections are refused before the kernel ends
/// the process and everybody in it. Without a limit it watches nothing.
final class MemoryGuard: Sendable {
    /// Of the limit: from here on nobody new, and below that again everybody.
    private static let (high, low) = (0.90, 0.85)

    private let short = Atomic(false)
    private let group: ControlGroup?

    init() { group = ControlGroup.current() }

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

/// The memory of this process's control group, in either version (cgroups(7)).
private struct ControlGroup: Sendable {
    let limit: Int
    private let usage: String
    private let statistics: String
    /// Of what is used, pages of files that the kernel takes back when it needs them.
    private let reclaimable: String

    /// The group that has a limit; nil where there is none.
    static func current() -> ControlGroup? {
        guard let text = try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8) else { return nil }
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let path = String(parts[2])
            if parts[1].split(separator: ",").contains("memory") {
                let folder = "/sys/fs/cgroup/memory" + path
                if let found = ControlGroup(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ") {
                    return found
                }
            } else if parts[1].isEmpty {
                if let found = ControlGroup("/sys/fs/cgroup" + path, "memory.max", "memory.current", "inactive_file ") { return found }
            }
        }
        return nil
    }

    private init?(_ folder: String, _ limit: String, _ usage: String, _ reclaimable: String) {
        // "max", and the number that stands for it in version 1, are no limit.
        guard let limit = ControlGroup.number("\(folder)/\(limit)"), limit < 1 << 50 else { return nil }
        self.limit = limit
        self.usage = "\(folder)/\(usage)"
        self.reclaimable = reclaimable
        statistics = "\(folder)/memory.stat"
    }

    func used() -> Int? {
        guard let all = ControlGroup.number(usage) else { return nil }
        let lines = (try? String(contentsOfFile: statistics, encoding: .utf8)) ?? ""
        let line = lines.split(separator: "\n").first { $0.hasPrefix(reclaimable) }
        return all - (line.flatMap { Int($0.dropFirst(reclaimable.count)) } ?? 0)
    }

    private static func number(_ path: String) -> Int? {
        (try? String(contentsOfFile: path, encoding: .utf8)).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
}
