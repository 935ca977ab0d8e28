import CLinux
import Dispatch
import EventLoop
import Glibc

/// A program that is run beside the server, and ends by a deadline.
///
/// Not Foundation's `Process`: started by that, `perf` never ended. It waits for the end of a child of its own, and here it
/// begins with no signal blocked.
struct Helper: Sendable {
    let arguments: [String]

    struct Result: Sendable {
        /// What it exited with; nil: it was ended by a signal, or by the deadline.
        let status: Int32?
        let output: [UInt8]
        /// The beginning of what it said of itself.
        let complaint: String
    }

    private static let outputLimit = 64 << 20
    private static let complaintLimit = 4_096

    init(_ arguments: String...) { self.arguments = arguments }

    /// Runs it, waiting on a thread of its own; nil where it cannot be started.
    func run(seconds: Int) async -> Result? {
        await withCheckedContinuation { continuation in
            DispatchQueue(label: "helper").async { continuation.resume(returning: wait(seconds: seconds)) }
        }
    }

    // MARK: On its thread

    private func wait(seconds: Int) -> Result? {
        var (output, complaint) = (Pipe(), Pipe())
        defer {
            output.close()
            complaint.close()
        }
        guard output.isOpen, complaint.isOpen, let process = spawn(output.writing, complaint.writing) else { return nil }
        output.closeWriting()
        complaint.closeWriting()
        var (said, complained) = ([UInt8](), [UInt8]())
        let end = EventLoop.monotonicNow() + UInt64(seconds) * 1_000_000_000
        while output.isOpen || complaint.isOpen, EventLoop.monotonicNow() < end {
            var interest = [output.reading, complaint.reading].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&interest, 2, 1_000)
            if interest[0].revents != 0 { output.read(into: &said, limit: Helper.outputLimit) }
            if interest[1].revents != 0 { complaint.read(into: &complained, limit: Helper.complaintLimit) }
        }
        // Whoever has closed both has ended, or is not waited for any longer.
        if output.isOpen || complaint.isOpen { kill(process, SIGKILL) }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return Result(
            status: status & 0x7F == 0 ? status >> 8 & 0xFF : nil, output: said, complaint: String(decoding: complained, as: UTF8.self))
    }

    private func spawn(_ output: Int32, _ complaint: Int32) -> pid_t? {
        var words = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        let process = clinux_spawn(&words, output, complaint)
        return process > 0 ? process : nil
    }
}

/// Through which it is read what a helper says.
private struct Pipe {
    private(set) var reading: Int32 = -1
    private(set) var writing: Int32 = -1

    init() {
        var ends: [Int32] = [-1, -1]
        guard clinux_pipe(&ends) == 0 else { return }
        (reading, writing) = (ends[0], ends[1])
    }

    var isOpen: Bool { reading >= 0 }

    mutating func closeWriting() {
        Glibc.close(writing)
        writing = -1
    }

    mutating func close() {
        if reading >= 0 { Glibc.close(reading) }
        if writing >= 0 { Glibc.close(writing) }
        (reading, writing) = (-1, -1)
    }

    /// What there is, of which no more than `limit` is kept; closes at its end.
    mutating func read(into bytes: inout [UInt8], limit: Int) {
        let chunk = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
            count = max(0, Glibc.read(reading, buffer.baseAddress, buffer.count))
        }
        if chunk.isEmpty { close() }
        bytes += chunk.prefix(max(0, limit - bytes.count))
    }
}
