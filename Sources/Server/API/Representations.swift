import QueueEngine
import QueueService

/// What the API says of things.
extension QueueSnapshot {
    var capacityStatus: String {
        let (used, cap) = (state.admitted.count, state.configuration.maxConcurrentUsers)
        return used >= cap ? "Full" : used * 5 >= cap * 4 ? "Near Full" : "Available"
    }

    func writeMembers(averageWait: Double?, to bytes: inout [UInt8]) {
        let configuration = state.configuration
        bytes.member("id", record.id)
        bytes.member("tenantId", record.tenant)
        bytes.member("name", record.name)
        bytes.member("slug", record.slug)
        bytes.member("description", record.description)
        bytes.member("maxConcurrentUsers", configuration.maxConcurrentUsers)
        bytes.member("releaseRatePerMinute", configuration.releaseRatePerMinute)
        bytes.member("graceSeconds", configuration.graceSeconds)
        bytes.member("admissionTTLSeconds", configuration.admissionTTLSeconds)
        bytes.member("settleSeconds", configuration.settleSeconds)
        bytes.member("maxWaiting", configuration.maxWaiting)
        bytes.member("opensAt", configuration.opensAt)
        bytes.member("closesAt", configuration.closesAt)
        bytes.key("priorityLanes")
        bytes.array(configuration.priorityLanes) { bytes, lane in
            bytes.object { bytes in
                bytes.member("name", lane.name)
                bytes.member("sharePercent", lane.sharePercent)
            }
        }
        bytes.member("redirectURL", record.redirectURL)
        bytes.member("status", state.status.rawValue)
        bytes.member("createdAt", record.createdAt)
        bytes.member("epoch", String(record.epoch, radix: 16))
        bytes.member("seq", state.head)
        writeLoad(averageWait: averageWait, to: &bytes)
    }

    func writeLoad(averageWait: Double?, to bytes: inout [UInt8]) {
        bytes.member("currentUsers", state.admitted.count)
        bytes.member("waiting", state.waitingCount)
        bytes.member("averageWaitSeconds", averageWait)
        bytes.member("capacityStatus", capacityStatus)
    }
}

extension SessionRecord {
    func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("id", id)
        bytes.member("queue", queue)
        bytes.member("status", status.rawValue)
        bytes.member("reason", ifPresent: endedReason)
        bytes.member("expiryReason", ifPresent: endReason)
        bytes.member("lane", ticket.lane)
        bytes.member("ticket", ticket.number)
        bytes.member("user", visitor.user)
        bytes.member("label", ifPresent: visitor.label)
        bytes.member("displayName", ifPresent: visitor.displayName)
        bytes.member("metadata", ifPresent: visitor.metadata.map(JSONText.init))
        bytes.member("createdAt", createdAt)
        bytes.member("admittedAt", admittedAt)
        bytes.member("expiresAt", ifPresent: expiresAt)
        bytes.member("endedAt", endedAt)
    }
}

extension LogEntry {
    /// An entry as a reader of events sees it.
    func write(queue: QueueID, epoch: UInt64, into bytes: inout [UInt8]) {
        bytes.object { bytes in
            bytes.member("seq", event.seq)
            bytes.member("epoch", String(epoch, radix: 16))
            bytes.member("type", event.change.name)
            bytes.member("at", event.at)
            bytes.member("queue", queue)
            bytes.member("session", ifPresent: session)
            bytes.member("user", ifPresent: user)
            if let announcement { bytes.member("announcement") { announcement.writeMembers(to: &$0) } }
            event.change.writeMembers(to: &bytes)
        }
    }
}

extension QueueEvent.Change {
    var name: String {
        switch self {
        case .configured: "configured"
        case .opened: "opened"
        case .paused: "paused"
        case .resumed: "resumed"
        case .closed: "closed"
        case .joined: "joined"
        case .connected: "connected"
        case .disconnected, .lost: "disconnected"
        case .everyoneDisconnected: "everyone_disconnected"
        case .admitted: "admitted"
        case .completed: "completed"
        case .left: "left"
        case .expired: "expired"
        case .announced: "announced"
        }
    }

    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        switch self {
        case .configured(let configuration):
            bytes.member("maxConcurrentUsers", configuration.maxConcurrentUsers)
            bytes.member("releaseRatePerMinute", configuration.releaseRatePerMinute)
        case .joined(let ticket), .completed(let ticket), .left(let ticket): ticket.writeMembers(to: &bytes)
        case .admitted(let ticket, let until):
            ticket.writeMembers(to: &bytes)
            bytes.member("expiresAt", until)
        case .expired(let ticket, let reason):
            ticket.writeMembers(to: &bytes)
            bytes.member("reason", reason.rawValue)
        case .connected(let arrivals): TicketRange.merging(arrivals.map(\.range)).writeMembers(to: &bytes)
        case .disconnected(let ranges): ranges.writeMembers(to: &bytes)
        case .lost(let ranges, _, let until):
            ranges.writeMembers(to: &bytes)
            bytes.member("settlesUntil", until)
        case .opened, .paused, .resumed, .closed, .everyoneDisconnected, .announced: break
        }
    }
}

extension [TicketRange] {
    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        bytes.key("tickets")
        bytes.array(self) { bytes, range in
            bytes.object { bytes in
                range.first.writeMembers(to: &bytes)
                bytes.member("count", range.count)
            }
        }
    }
}

extension Ticket {
    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("lane", lane)
        bytes.member("ticket", number)
    }
}
