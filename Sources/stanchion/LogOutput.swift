import Dispatch
import Glibc
import Locks

/// Writes log lines to standard error, in order, on a queue of its own: a caller never waits for the reader.
///
/// At most `limit` bytes wait for a reader that stands still. Further lines are dropped, and the log says how many.
final class LogOutput: Sendable {
    static let standardError = LogOutput(STDERR_FILENO)

    private struct Waiting {
        var lines: [UInt8] = []
        var dropped = 0
        var isWriting = false
    }

    /// Bytes that may wait.
    static let limit = 1 << 20

    private let descriptor: Int32
    private let waiting = Lock(Waiting())
    private let writer = DispatchQueue(label: "log", qos: .utility)

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    func write(_ line: String) {
        let mustStart = waiting.withLock { waiting in
            guard waiting.lines.count + line.utf8.count < LogOutput.limit else {
                waiting.dropped += 1
                return false
            }
            waiting.lines += line.utf8
            waiting.lines.append(UInt8(ascii: "\n"))
            defer { waiting.isWriting = true }
            return !waiting.isWriting
        }
        if mustStart { writer.async { self.writeAll() } }
    }

    /// Waits at most `milliseconds` until the lines that wait are written.
    func flush(within milliseconds: Int) {
        let isDone = DispatchSemaphore(value: 0)
        writer.async { isDone.signal() }
        _ = isDone.wait(timeout: .now() + .milliseconds(milliseconds))
    }

    private func writeAll() {
        while let lines = take() {
            var rest = lines[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
                if count >= 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    // Somebody who shares it has made it non-blocking.
                    var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&room, 1, 1_000)
                } else if errno != EINTR {
                    break
                }
            }
        }
    }

    private func take() -> [UInt8]? {
        waiting.withLock { waiting in
            guard !waiting.lines.isEmpty else {
                waiting.isWriting = false
                return nil
            }
            var lines: [UInt8] = []
            swap(&lines, &waiting.lines)
            if waiting.dropped > 0 {
                // In both formats a line that can be read.
                lines += #"{"level":"warning","message":"lines of the log were dropped","dropped":\#(waiting.dropped)}"#.utf8
                lines.append(UInt8(ascii: "\n"))
                waiting.dropped = 0
            }
            return lines
        }
    }
}
