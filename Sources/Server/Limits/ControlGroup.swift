import Foundation

/// What a control group lets its processes have, in either version (cgroups(7)).
enum ControlGroup {
    /// The memory of the group that has a limit.
    struct Memory: Sendable {
        let limit: Int
        fileprivate let usage: String
        fileprivate let statistics: String
        /// Of what is used, pages of files that the kernel takes back when it needs them.
        fileprivate let reclaimable: String

        func used() -> Int? {
            guard let all = ControlGroup.numbers(usage).first else { return nil }
            let lines = (try? String(contentsOfFile: statistics, encoding: .utf8)) ?? ""
            let line = lines.split(separator: "\n").first { $0.hasPrefix(reclaimable) }
            return all - (line.flatMap { Int($0.dropFirst(reclaimable.count)) } ?? 0)
        }
    }

    /// This process's; nil where there is no limit.
    static func memory() -> Memory? {
        folders(of: "memory").lazy.compactMap { folder, isUnified in
            // "max", and the number that stands for it in version 1, are no limit.
            guard let limit = numbers(folder + (isUnified ? "/memory.max" : "/memory.limit_in_bytes")).first, limit < 1 << 50 else {
                return nil
            }
            return Memory(
                limit: limit, usage: folder + (isUnified ? "/memory.current" : "/memory.usage_in_bytes"),
                statistics: folder + "/memory.stat", reclaimable: isUnified ? "inactive_file " : "total_inactive_file ")
        }.first
    }

    /// How many processors' time this process may use; nil where there is no limit.
    static func processors() -> Double? {
        folders(of: "cpu").lazy.compactMap { folder, isUnified in
            // "max 100000" in version 2, and -1 in version 1, are no limit.
            let figures =
                isUnified ? numbers(folder + "/cpu.max") : numbers(folder + "/cpu.cfs_quota_us") + numbers(folder + "/cpu.cfs_period_us")
            guard figures.count == 2, figures[0] > 0, figures[1] > 0 else { return nil }
            return Double(figures[0]) / Double(figures[1])
        }.first
    }

    /// Where the figures of a controller may be, and whether they have the names of version 2. In a container the group's
    /// own path may be the host's, and its figures where the root's would be.
    private static func folders(of controller: String) -> [(folder: String, isUnified: Bool)] {
        let text = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").flatMap { line -> [(folder: String, isUnified: Bool)] in
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return [] }
            let isUnified = parts[1].isEmpty
            guard isUnified || parts[1].split(separator: ",").contains(Substring(controller)) else { return [] }
            let root = "/sys/fs/cgroup" + (isUnified ? "" : "/\(controller)")
            return [(root + parts[2], isUnified), (root, isUnified)]
        }
    }

    /// The whole numbers that a file begins with.
    private static func numbers(_ path: String) -> [Int] {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(whereSeparator: \.isWhitespace).map { Int($0) }.prefix { $0 != nil }.compactMap { $0 }
    }
}
