import EventLoop
import Foundation
import Glibc
import Telemetry

/// The disk that a SQLite file is on.
struct DiskFacts: Sendable {
    let freeBytes: Double
    let wholeBytes: Double
    /// What it takes to write some bytes and be sure of them, the median of five.
    let syncSeconds: Double

    /// - Parameter folder: a file is made in it, and removed. nil where that cannot be done.
    init?(folder: String) {
        var system = statvfs()
        guard statvfs(folder, &system) == 0 else { return nil }
        freeBytes = Double(system.f_bavail) * Double(system.f_frsize)
        wholeBytes = Double(system.f_blocks) * Double(system.f_frsize)
        let path = "\(folder)/.stanchion-doctor-\(getpid())"
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { return nil }
        defer {
            close(file)
            unlink(path)
        }
        var taken: [Double] = []
        for _ in 0..<5 {
            let began = EventLoop.monotonicNow()
            guard write(file, path, 16) == 16, fdatasync(file) == 0 else { return nil }
            taken.append(Double(EventLoop.monotonicNow() - began) / 1e9)
        }
        syncSeconds = taken.sorted()[2]
    }

    init(freeBytes: Double, wholeBytes: Double, syncSeconds: Double) {
        self.freeBytes = freeBytes
        self.wholeBytes = wholeBytes
        self.syncSeconds = syncSeconds
    }
}

enum DiskChecks {
    static func diagnose(_ facts: DiskFacts) -> [Diagnosis] { [slowSync, full].compactMap { $0(facts) } }

    private static func slowSync(_ facts: DiskFacts) -> Diagnosis? {
        guard let severity = Diagnosis.Severity(syncSeconds: facts.syncSeconds) else { return nil }
        return Diagnosis(
            "slow_sync", severity, .disk, symptom: "A commit waits for the disk.",
            evidence: ["some bytes are safe after \(Words.time(facts.syncSeconds))"],
            cause: "The disk is slow to sync, is on a network, or busy with something else.",
            remedy: "Put the file on a local solid-state disk; look at `iostat -x`.", check: "this again.")
    }

    private static func full(_ facts: DiskFacts) -> Diagnosis? {
        let share = facts.freeBytes / max(1, facts.wholeBytes)
        return Diagnosis(
            diskUsed: 1 - share,
            evidence:
                "\(Words.rounded(facts.freeBytes / 1e9)) of \(Words.rounded(facts.wholeBytes / 1e9)) GB are free (\(Words.percent(share)))")
    }
}

extension Diagnosis {
    /// The store's disk is nearly full; nil: it is not.
    init?(diskUsed share: Double, evidence: String) {
        guard let severity = Severity(share, Targets.disk) else { return nil }
        self.init(
            "disk_short", severity, .disk, symptom: "The disk is nearly full.", evidence: [evidence],
            cause: "When it is full nobody can join and nobody is let in; everyone keeps the place.",
            remedy: "Make room. --log-days says how long a queue's events are kept.", check: "`df`.")
    }
}
