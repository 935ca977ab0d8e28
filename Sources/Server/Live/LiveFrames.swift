import QueueEngine
import QueueService
import WebSocketProtocol

/// The frames that a server sends, as JSON. `docs/protocol.md` is their contract, and a test holds the two together.
enum LiveFrames {
    private static func frame(_ type: StaticString, _ bytes: inout [UInt8], _ members: (inout [UInt8]) -> Void) {
        bytes.append(literal: #"{"type":""#)
        bytes.append(literal: type)
        bytes.append(0x22)
        members(&bytes)
        bytes.append(0x7D)
    }

    /// A line at one moment, as `joined`, `position` and the REST answers tell of a place in it, behind other members.
    ///
    /// What everybody in it is told alike is written once; for each in a sweep what is left are three numbers.
    struct Line {
        private let drain: DrainRate
        private let hasOneRate: Bool
        private let beforeRate: Prepared
        private let at: Prepared

        /// - Parameter isStopped: what is shown shall not fall by itself, whatever the line does.
        init(waiting: Int, drain: DrainRate, at: Timestamp, isStopped: Bool = false) {
            self.drain = drain
            hasOneRate = isStopped || drain.isUniform
            let rate: Double? = !hasOneRate ? nil : isStopped ? 0 : drain.rate(at: 1)
            beforeRate = Prepared { bytes in
                bytes.append(literal: #","waiting":"#)
                bytes.append(integer: waiting)
                bytes.append(literal: #","rate":"#)
                if let rate { bytes.append(number: rate) }
            }
            self.at = Prepared { bytes in
                bytes.append(literal: #","at":"#)
                at.write(to: &bytes)
            }
        }

        func write(position: Int, behind text: StaticString = "", to bytes: inout [UInt8]) {
            // More than the numbers and names have, whatever they are.
            let room = 192 + text.utf8CodeUnitCount + beforeRate.count + at.count
            bytes.append(addingCapacity: room) { bytes in
                bytes.append(literal: text)
                bytes.append(literal: #","position":"#)
                bytes.append(integer: position)
                beforeRate.append(to: &bytes)
                if !hasOneRate { bytes.append(number: drain.rate(at: position)) }
                if let wait = drain.wait(at: position) {
                    bytes.append(literal: #","wait":{"p50Seconds":"#)
                    bytes.append(number: wait.p50Seconds, places: 1)
                    bytes.append(literal: #","p90Seconds":"#)
                    bytes.append(number: wait.p90Seconds, places: 1)
                    bytes.append(0x7D)
                } else {
                    bytes.append(literal: #","wait":null"#)
                }
                at.append(to: &bytes)
            }
        }
    }

    // The `reason` of a place that is worse than one told before.

    static let overtaken = "priority_lane"
    static let restored = "restored"

    static func joined(
        _ session: SessionID, token: String, _ queue: QueueRecord, _ status: QueueStatus, position: Int, _ line: Line, reason: String?,
        into bytes: inout [UInt8]
    ) {
        frame("joined", &bytes) { bytes in
            bytes.member("session", session)
            bytes.member("token", token)
            bytes.member("queue") { bytes in
                bytes.member("id", queue.id)
                bytes.member("name", queue.name)
                bytes.member("status", status.rawValue)
                bytes.member("settleSeconds", queue.configuration.settleSeconds)
                bytes.member("graceSeconds", queue.configuration.graceSeconds)
            }
            line.write(position: position, to: &bytes)
            bytes.member("reason", ifPresent: reason)
        }
    }

    static func position(_ position: Int, _ line: Line, reason: String?, into bytes: inout [UInt8]) {
        line.write(position: position, behind: #"{"type":"position""#, to: &bytes)
        bytes.member("reason", ifPresent: reason)
        bytes.append(0x7D)
    }

    static func admitted(_ admission: String, redirect: String?, expiresAt: Timestamp, into bytes: inout [UInt8]) {
        frame("admitted", &bytes) { bytes in
            bytes.member("admission", admission)
            bytes.member("redirect", redirect)
            bytes.member("expiresAt", expiresAt)
        }
    }

    static func announcement(_ announcement: Announcement, into bytes: inout [UInt8]) {
        frame("announcement", &bytes) { announcement.writeMembers(to: &$0) }
    }

    static func queue(_ status: QueueStatus, into bytes: inout [UInt8]) {
        frame("queue", &bytes) { bytes in
            bytes.member("status", status.rawValue)
            bytes.member("message", message(status))
        }
    }

    private static func message(_ status: QueueStatus) -> String {
        switch status {
        case .scheduled: "The queue has not opened yet. Your place is safe."
        case .open: "The queue is moving."
        case .paused: "The queue is paused. Your place is safe."
        case .closed: "The queue is closed."
        }
    }

    static func state(staleSince: Timestamp?, into bytes: inout [UInt8]) {
        frame("state", &bytes) { bytes in
            bytes.member("state", staleSince == nil ? "live" : "stale")
            bytes.member("since", ifPresent: staleSince)
            if staleSince != nil { bytes.member("message", "Updates are delayed. Your place is safe.") }
        }
    }

    static func reconnect(afterSeconds: Double, into bytes: inout [UInt8]) {
        frame("reconnect", &bytes) { $0.member("afterSeconds", afterSeconds) }
    }

    static func ended(_ reason: String, into bytes: inout [UInt8]) {
        frame("ended", &bytes) { $0.member("reason", reason) }
    }

    static func error(_ problem: Problem, into bytes: inout [UInt8]) {
        frame("error", &bytes) { bytes in
            bytes.member("code", problem.code)
            bytes.member("message", problem.message)
            problem.writeExtras(&bytes)
        }
    }
}

extension FrameEncoder {
    /// Writes a text frame and lends it, in one go: each look at a loop's encoder is checked for being the only one.
    mutating func text(
        deflate: PermessageDeflate?, _ write: (inout [UInt8]) -> Void, _ send: (UnsafeRawBufferPointer) -> Void
    ) {
        reset()
        write(&payload)
        finish(.text, deflate: deflate, send)
    }
}

extension Announcement {
    func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("id", String(seq))
        bytes.member("text", text)
        bytes.member("severity", severity.rawValue)
        bytes.member("publishedAt", publishedAt)
        bytes.member("expiresAt", expiresAt)
    }
}

extension SessionRecord {
    /// `ended.reason`: why it is over; nil while it is not.
    var endedReason: String? {
        switch status {
        case .waiting, .admitted: nil
        case .completed: "completed"
        case .left: "left"
        case .expired: endReason == "closed" ? "closed" : "expired"
        }
    }
}
