import Foundation
import HTTPTypes

/// Where the server's threads spend their time: `perf` looks at them many times a second, and what it finds is told as
/// folded stacks, a line each: thread, functions from the outside in, and how often. What draws flame graphs reads that.
enum Profile {
    /// Often enough for a picture, and far from costing anything. Not a round number, which would keep step with timers.
    private static let hertz = 99

    /// - Throws: `Problem.profileUnavailable` where `perf` is missing, or may not look.
    static func take(seconds: Int) async throws -> [UInt8] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("stanchion-profile-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (data, process) = ("\(folder)/data", String(getpid()))
        let recording = Helper("perf", "record", "-q", "-F", "\(hertz)", "-g", "-p", process, "-o", data, "--", "sleep", "\(seconds)")
        try check(await recording.run(seconds: seconds + 20))
        let script = await Helper("perf", "script", "-i", data, "-F", "comm,tid,ip,sym", "--no-inline").run(seconds: 60)
        return FoldedStacks(of: try check(script).output).text
    }

    @discardableResult
    private static func check(_ result: Helper.Result?) throws(Problem) -> Helper.Result {
        guard let result else { throw .profileUnavailable("perf cannot be started: is it installed (Debian: linux-perf)?") }
        guard result.status == 0 else {
            let complaint = result.complaint.split(separator: "\n").prefix(3).joined(separator: " ")
            throw .profileUnavailable("perf may not look, or cannot (kernel.perf_event_paranoid, CAP_PERFMON): \(complaint)")
        }
        return result
    }
}

extension Problem {
    static func profileUnavailable(_ why: String) -> Problem { Problem(.notImplemented, "profile_unavailable", why) }
    static let profileUnderWay = Problem(
        .conflict, "profile_under_way", "somebody else has a profile taken; try again when it is done", retryAfterSeconds: 10)
}

/// Stacks as `perf script -F comm,tid,ip,sym` tells them, those that are alike counted together.
struct FoldedStacks {
    private var counts: [String: Int] = [:]
    private var names: [Substring: String] = [:]

    init(of script: [UInt8]) {
        var (thread, frames) = ("", [String]())
        for line in String(decoding: script, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty {
                add(thread, frames)
                (thread, frames) = ("", [])
            } else if line.first!.isWhitespace {
                // An address, and what is there.
                let words = line.trimmingPrefix(while: \.isWhitespace).split(separator: " ", maxSplits: 1)
                frames.append(name(words.count > 1 ? words[1] : "[unknown]"))
            } else {
                // The thread's name, which may have spaces in it, and its number.
                thread = line.split(separator: " ").dropLast().joined(separator: " ")
            }
        }
        add(thread, frames)
    }

    /// Sorted by stack.
    var text: [UInt8] { Array(counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined().utf8) }

    private mutating func add(_ thread: String, _ frames: [String]) {
        if !frames.isEmpty { counts[([thread] + frames.reversed()).joined(separator: ";"), default: 0] += 1 }
    }

    private mutating func name(_ symbol: Substring) -> String {
        if let known = names[symbol] { return known }
        let name = FoldedStacks.demangled(String(symbol)).replacing(";", with: ",")
        names[symbol] = name
        return name
    }

    /// As it is written in the program; what is no name of Swift's stays, and so does what the linker has put behind one: `@plt`.
    private static func demangled(_ symbol: String) -> String {
        let end = symbol.firstIndex(of: "@") ?? symbol.endIndex
        let name = String(symbol[..<end])
        guard name.hasPrefix("$s"), let text = demangle(name, UInt(name.utf8.count), nil, nil, 0) else { return symbol }
        defer { free(text) }
        return String(cString: text) + symbol[end...]
    }
}

/// `stdlib/include/swift/Demangling/Demangle.h` of the Swift runtime, which exports it for tools like this.
@_silgen_name("swift_demangle")
private func demangle(
    _ name: UnsafePointer<CChar>, _ length: UInt, _ buffer: UnsafeMutablePointer<CChar>?, _ size: UnsafeMutablePointer<UInt>?,
    _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?
