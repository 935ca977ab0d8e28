import QueueEngine
import QueueService

/// What a batch writes into each table, column by column, in the order of the statement's parameters.
extension AppendStatement {
    struct Queues {
        private var id = PostgresColumn<QueueID>()
        private var expected = PostgresColumn<Int64>()
        private var head = PostgresColumn<Int64>()
        private var at = PostgresColumn<Timestamp>()
        private var status = PostgresColumn<String>()
        private var counters = PostgresColumn<String>()
        private var tenant = PostgresColumn<TenantID>()
        private var epoch = PostgresColumn<Int64>()
        private var slug = PostgresColumn<String>()
        private var name = PostgresColumn<String>()
        private var description = PostgresColumn<String>()
        private var redirectURL = PostgresColumn<String>()
        private var configuration = PostgresColumn<String>()
        private var createdAt = PostgresColumn<Timestamp>()
        private var expectedAt = PostgresColumn<Timestamp>()
        private var unseen = PostgresColumn<Int64>()
        private var unseenAt = PostgresColumn<Timestamp>()
        private var closed = PostgresColumn<Int64>()
        private var closedAt = PostgresColumn<Timestamp>()
        private var isOccupied = PostgresColumn<Bool>()
        private var wakeAt = PostgresColumn<Timestamp>()

        mutating func add(_ append: LogAppend, _ rows: AppendRows) {
            let record = append.record
            let isConfigured = append.events.contains { if case .configured = $0.event.change { true } else { false } }
            id.append(record.id)
            expected.append(Int64(append.expected.seq))
            head.append(Int64(append.expected.seq) + Int64(append.events.count))
            at.append(append.events.last?.event.at)
            status.append(append.status.rawValue)
            counters.append(JSON.encode(append.counters))
            tenant.append(record.tenant)
            epoch.append(Int64(bitPattern: record.epoch))
            slug.append(record.slug)
            name.append(record.name)
            description.append(record.description)
            redirectURL.append(record.redirectURL)
            configuration.append(isConfigured ? JSON.encode(record.configuration) : nil)
            createdAt.append(record.createdAt)
            expectedAt.append(append.expected.at)
            unseen.append(rows.unseen.map { Int64($0.seq) })
            unseenAt.append(rows.unseen?.at)
            closed.append(rows.closed.map { Int64($0.seq) })
            closedAt.append(rows.closed?.at)
            isOccupied.append(append.isOccupied)
            wakeAt.append(append.wakeAt)
        }

        func give(to call: inout PostgresCall) {
            call = call.with(id).with(expected).with(head).with(at).with(status).with(counters).with(tenant).with(epoch)
                .with(slug).with(name).with(description).with(redirectURL).with(configuration).with(createdAt).with(expectedAt)
                .with(unseen).with(unseenAt).with(closed).with(closedAt)
        }

        /// Behind all others, with numbers of their own.
        func giveRest(to call: inout PostgresCall) { call = call.with(isOccupied).with(wakeAt) }
    }

    struct Log {
        private var queue = PostgresColumn<QueueID>()
        private var seq = PostgresColumn<Int64>()
        private var at = PostgresColumn<Timestamp>()
        private var type = PostgresColumn<String>()
        private var ticket = PostgresColumn<Int64>()
        private var data = PostgresColumn<String>()

        mutating func add(_ id: QueueID, _ event: QueueEvent) {
            let stored = StoredChange(event.change)
            queue.append(id)
            seq.append(Int64(event.seq))
            at.append(event.at)
            type.append(stored.type)
            ticket.append(stored.ticket?.column)
            data.append(stored.data)
        }

        func give(to call: inout PostgresCall) { call = call.with(queue).with(seq).with(at).with(type).with(ticket).with(data) }
    }

    struct Joined {
        private var queue = PostgresColumn<QueueID>()
        private var ticket = PostgresColumn<Int64>()
        private var id = PostgresColumn<SessionID>()
        private var user = PostgresColumn<String>()
        private var label = PostgresColumn<String>()
        private var displayName = PostgresColumn<String>()
        private var metadata = PostgresColumn<String>()
        private var status = PostgresColumn<String>()
        private var endReason = PostgresColumn<String>()
        private var createdAt = PostgresColumn<Timestamp>()
        private var absentSince = PostgresColumn<Timestamp>()
        private var admittedAt = PostgresColumn<Timestamp>()
        private var expiresAt = PostgresColumn<Timestamp>()
        private var endedAt = PostgresColumn<Timestamp>()
        private var event = PostgresColumn<Int64>()
        private var presence = PostgresColumn<Int64>()

        mutating func add(_ queue: QueueID, _ ticket: Ticket, _ session: AppendRows.Session, _ made: AppendRows.NewSession) {
            self.queue.append(queue)
            self.ticket.append(ticket.column)
            id.append(made.id)
            user.append(made.visitor.user)
            label.append(made.visitor.label)
            displayName.append(made.visitor.displayName)
            metadata.append(made.visitor.metadata)
            status.append(session.status?.rawValue)
            endReason.append(session.endReason)
            createdAt.append(made.createdAt)
            absentSince.append(session.absentSince)
            admittedAt.append(session.admittedAt)
            expiresAt.append(session.expiresAt)
            endedAt.append(session.endedAt)
            event.append(Int64(made.eventIndex))
            presence.append(Int64(session.presence))
        }

        func give(to call: inout PostgresCall) {
            call = call.with(queue).with(ticket).with(id).with(user).with(label).with(displayName).with(metadata).with(status)
                .with(endReason).with(createdAt).with(absentSince).with(admittedAt).with(expiresAt).with(endedAt).with(event)
                .with(presence)
        }
    }

    struct Changed {
        private var queue = PostgresColumn<QueueID>()
        private var ticket = PostgresColumn<Int64>()
        private var status = PostgresColumn<String>()
        private var endReason = PostgresColumn<String>()
        private var absentSince = PostgresColumn<Timestamp>()
        private var admittedAt = PostgresColumn<Timestamp>()
        private var expiresAt = PostgresColumn<Timestamp>()
        private var endedAt = PostgresColumn<Timestamp>()

        mutating func add(_ queue: QueueID, _ ticket: Ticket, _ session: AppendRows.Session) {
            self.queue.append(queue)
            self.ticket.append(ticket.column)
            status.append(session.status?.rawValue)
            endReason.append(session.endReason)
            absentSince.append(session.absentSince)
            admittedAt.append(session.admittedAt)
            expiresAt.append(session.expiresAt)
            endedAt.append(session.endedAt)
        }

        func give(to call: inout PostgresCall) {
            call = call.with(queue).with(ticket).with(status).with(endReason).with(absentSince).with(admittedAt).with(expiresAt)
                .with(endedAt)
        }
    }

    /// Who went out of sight, or came back.
    struct Moved {
        private var queue = PostgresColumn<QueueID>()
        private var first = PostgresColumn<Int64>()
        private var last = PostgresColumn<Int64>()
        private var since = PostgresColumn<Timestamp>()
        private var seq = PostgresColumn<Int64>()

        mutating func add(_ id: QueueID, _ absence: AppendRows.Absence) {
            queue.append(id)
            first.append(absence.range.first.column)
            last.append(absence.range.first.column + Int64(absence.range.count) - 1)
            since.append(absence.since)
            seq.append(Int64(absence.seq))
        }

        func give(to call: inout PostgresCall) { call = call.with(queue).with(first).with(last).with(since).with(seq) }
    }

    struct Announced {
        private var queue = PostgresColumn<QueueID>()
        private var seq = PostgresColumn<Int64>()
        private var text = PostgresColumn<String>()
        private var severity = PostgresColumn<String>()
        private var publishedAt = PostgresColumn<Timestamp>()
        private var expiresAt = PostgresColumn<Timestamp>()

        mutating func add(_ id: QueueID, _ event: QueueEvent, _ words: String, _ level: Severity, _ end: Timestamp?) {
            queue.append(id)
            seq.append(Int64(event.seq))
            text.append(words)
            severity.append(level.rawValue)
            publishedAt.append(event.at)
            expiresAt.append(end)
        }

        func give(to call: inout PostgresCall) {
            call = call.with(queue).with(seq).with(text).with(severity).with(publishedAt).with(expiresAt)
        }
    }

    struct Receipts {
        private var queue = PostgresColumn<QueueID>()
        private var tenant = PostgresColumn<TenantID>()
        private var key = PostgresColumn<String>()
        private var requestHash = PostgresColumn<Bytes>()
        private var result = PostgresColumn<String>()
        private var receipt = PostgresColumn<Int64>()

        mutating func add(_ id: QueueID, _ new: Receipt, _ index: Int) {
            queue.append(id)
            tenant.append(new.tenant)
            key.append(new.key)
            requestHash.append(Bytes(new.requestHash))
            result.append(new.result)
            receipt.append(Int64(index))
        }

        func give(to call: inout PostgresCall) {
            call = call.with(queue).with(tenant).with(key).with(requestHash).with(result).with(receipt)
        }
    }
}
