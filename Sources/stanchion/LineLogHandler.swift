import EventLoop
import Foundation
import Glibc
import Locks
import Logging

enum LogFormat: String { case text, json }

/// A line an entry on standard error, for people or as JSON.
struct LineLogHandler: LogHandler {
    let format: LogFormat
    let label: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    init(format: LogFormat, label: String) {
        self.format = format
        self.label = label
    }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    private static let repeated = Lock(RepeatedLines())

    func log(event: LogEvent) {
        let words = event.message.description
        let second = EventLoop.monotonicNow() / 1_000_000_000
        guard let omitted = LineLogHandler.repeated.withLock({ $0.note(words, at: second) }) else { return }
        var all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        if omitted > 0 { all.append(("omitted", "\(omitted)")) }
        let time = Date().formatted(.iso8601.time(includingFractionalSeconds: true))
        switch format {
        case .text:
            let details = all.map { " \($0.key)=\($0.value)" }.joined()
            LogOutput.standardError.write("\(time) \(event.level) \(words)\(details)")
        case .json:
            var fields = ["time": time, "level": event.level.rawValue, "message": words]
            for (key, value) in all { fields[key] = fields[key] ?? value.description }
            guard let line = try? JSONEncoder().encode(fields) else { return }
            LogOutput.standardError.write(String(decoding: line, as: UTF8.self))
        }
    }
}

enum StandardError {
    /// A line in one system call, behind what the log has still to say.
    static func write(_ line: String) {
        LogOutput.standardError.flush(within: 1_000)
        let bytes = Array((line + "\n").utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}
