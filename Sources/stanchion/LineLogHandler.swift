import Foundation
import Glibc
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

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let time = Date().formatted(.iso8601.time(includingFractionalSeconds: true))
        switch format {
        case .text:
            let details = all.map { " \($0.key)=\($0.value)" }.joined()
            StandardError.write("\(time) \(event.level) \(event.message)\(details)")
        case .json:
            var fields = ["time": time, "level": event.level.rawValue, "message": event.message.description]
            for (key, value) in all { fields[key] = fields[key] ?? value.description }
            guard let line = try? JSONEncoder().encode(fields) else { return }
            StandardError.write(String(decoding: line, as: UTF8.self))
        }
    }
}

enum StandardError {
    /// A line in one system call, so that lines of several threads do not mix.
    static func write(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}
