import EventLoop
import Foundation
import Glibc

/// What there is for this process.
enum Machine {
    /// Processors that it may use: a container on a large machine may have the time of two.
    static let processors = min(Double(EventLoopGroup.coreCount), ControlGroup.processors() ?? .infinity)

    /// Of the fastest network interface that says so; 0: none does.
    static let networkBytesPerSecond: Double = {
        let folder = "/sys/class/net"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let speeds = names.compactMap { name in
            (try? String(contentsOfFile: "\(folder)/\(name)/speed", encoding: .utf8)).flatMap { Double($0.dropLast()) }
        }
        return (speeds.max().map { max(0, $0) } ?? 0) * 1e6 / 8  // It is given in Mbit/s; -1: not known.
    }()

}
