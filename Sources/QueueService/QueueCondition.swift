import Locks
import QueueEngine

/// What a change of a queue's settings asks of the settings as they are when it is decided (RFC 9110 §13.1.1).
public enum QueueCondition: Sendable, Hashable {
    /// There is a queue.
    case exists
    /// Its settings are one of these versions.
    case version(Set<String>)

    func check(_ record: QueueRecord) throws(ServiceError) {
        if case .version(let versions) = self, !versions.contains(record.version) { throw .preconditionFailed }
    }
}

extension QueueRecord {
    /// Names these settings: it changes with each change of them, and with nothing else. Every instance of the same version
    /// of the program gives the same settings the same name.
    ///
    /// Taken from all that the record holds, so that a setting that is added is part of it.
    public var version: String {
        // FNV-1a (draft-eastlake-fnv), over the values as Swift describes them, texts in quotes.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in String(reflecting: self).utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return "\(String(epoch, radix: 16))-\(String(hash, radix: 16))"
    }
}

/// Computes a record's version on first use and keeps it: hashing the record costs more than the rest of the answer.
final class RecordVersion: Sendable {
    private let record: QueueRecord
    private let cached = Lock<String?>(nil)

    init(_ record: QueueRecord) { self.record = record }

    var text: String {
        cached.withLock { cached in
            if let cached { return cached }
            let version = record.version
            cached = version
            return version
        }
    }
}
