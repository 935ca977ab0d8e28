import Foundation
import Glibc

/// What this process uses of its machine, read from /proc (proc(5)), under the names that all of Prometheus' clients use.
struct ProcessFigures {
    /// Reads them; what this kernel does not tell is left out.
    static func write(to registry: PrometheusRegistry) {
        cpu(registry)
        memory(registry)
        descriptors(registry)
        disk(registry)
    }

    private static func read(_ name: String) -> String { (try? String(contentsOfFile: "/proc/self/\(name)", encoding: .utf8)) ?? "" }

    private static func cpu(_ registry: PrometheusRegistry) {
        let text = read("stat")
        // The name in parentheses may hold anything; fields are counted behind it, where the third one comes first.
        guard let end = text.lastIndex(of: ")") else { return }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, let user = Double(fields[11]), let system = Double(fields[12]), let started = Double(fields[19]),
            let boot = bootTime
        else { return }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        registry.set("process_cpu_seconds_total", .counter, "Processor time used, user and system.", (user + system) / ticks)
        registry.set("process_start_time_seconds", .gauge, "When the process began, in seconds since 1970.", boot + started / ticks)
    }

    /// Seconds since 1970.
    private static let bootTime: Double? = {
        let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) }
    }()

    private static func memory(_ registry: PrometheusRegistry) {
        let pages = read("statm").split(separator: " ").compactMap { Double($0) }
        guard pages.count > 1 else { return }
        let size = Double(sysconf(Int32(_SC_PAGESIZE)))
        registry.set("process_virtual_memory_bytes", .gauge, "Address space in use.", pages[0] * size)
        registry.set("process_resident_memory_bytes", .gauge, "Memory in use.", pages[1] * size)
    }

    private static func descriptors(_ registry: PrometheusRegistry) {
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            registry.set("process_max_fds", .gauge, "Descriptors that may be open.", Double(limit.rlim_cur))
        }
        if let open = count("/proc/self/fd") { registry.set("process_open_fds", .gauge, "Descriptors that are open.", Double(open)) }
    }

    /// Entries of /proc/self/fd: its size, since Linux 6.2. Older ones must be counted.
    private static func count(_ path: String) -> Int? {
        var status = stat()
        if stat(path, &status) == 0, status.st_size > 0 { return Int(status.st_size) }
        guard let folder = opendir(path) else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count - 3  // Itself, and `.` and `..`.
    }

    private static func disk(_ registry: PrometheusRegistry) {
        for line in read("io").split(separator: "\n") {
            let parts = line.split(separator: ":")
            guard parts.count == 2, let value = Double(parts[1].dropFirst()) else { continue }
            if parts[0] == "read_bytes" {
                registry.set("stanchion_disk_read_bytes_total", .counter, "Bytes that this process had read from disks.", value)
            } else if parts[0] == "write_bytes" {
                registry.set("stanchion_disk_written_bytes_total", .counter, "Bytes that this process had written to disks.", value)
            }
        }
    }
}
