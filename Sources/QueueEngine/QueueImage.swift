import HashTreeCollections

/// What a store keeps of a queue's line beside the log, so that a replica can be rebuilt without reading the log from
/// its beginning. All of it is as of event `head`.
public struct QueueImage: Sendable {
    public var configuration: QueueConfiguration
    public var status: QueueStatus
    public var head: UInt64
    public var lastEventAt: Timestamp
    public var counters: QueueCounters
    /// When everyone who waited was out of sight last.
    public var unseenSince: Timestamp?
    /// Who waits, in any order, and since when they are out of sight: since `unseenSince` for those who were in sight until
    /// then, or had been out of sight since an earlier such moment.
    public var waiting: [(ticket: Ticket, absentSince: Timestamp?)] = []
    /// Who is admitted, and until when.
    public var admitted: [(ticket: Ticket, until: Timestamp)] = []
    /// Admissions, departures and completions since `lastEventAt` minus `QueueImage.history`, in any order.
    public var admissions: [Timestamp] = []
    public var departures: [Timestamp] = []
    public var turnovers: [Timestamp] = []

    /// How far back a rebuilt replica must know what happened.
    public static let history = Timestamp.Span.seconds(Int(DrainMeter.buckets * DrainMeter.bucketSeconds))

    public init(configuration: QueueConfiguration, status: QueueStatus, head: UInt64, lastEventAt: Timestamp, counters: QueueCounters) {
        self.configuration = configuration
        self.status = status
        self.head = head
        self.lastEventAt = lastEventAt
        self.counters = counters
    }
}

/// The numbers of a line that no row tells: written with every commit that changes the queue.
public struct QueueCounters: Sendable, Hashable, Codable {
    /// The next ticket number of each lane.
    public var next: [UInt64]
    /// The stride scheduler's turn of each lane.
    public var pass: [Int64]
    /// When the last place was due, in nanoseconds since 1970.
    public var anchor: Int64
    /// Whom the line waits for; nil: nobody.
    public var losses: [Loss]?
    /// When the queue was made; nil in rows of a version that did not keep it.
    public var watchedSince: Timestamp?
}

extension QueueState {
    public var counters: QueueCounters {
        QueueCounters(
            next: lanes.map(\.next), pass: lanes.map(\.pass), anchor: pacing.anchor, losses: losses.isEmpty ? nil : losses,
            watchedSince: watchedSince)
    }

    /// The replica as of the image's head: equal to one that applied the whole log.
    public init(_ image: QueueImage) {
        self.init(image.configuration)
        status = image.status
        head = image.head
        lastEventAt = image.lastEventAt
        while lanes.count < image.counters.next.count { lanes.append(Lane()) }
        for (index, next) in image.counters.next.enumerated() {
            lanes[index].next = next
            lanes[index].pass = image.counters.pass[index]
        }
        unseenSince = image.unseenSince
        losses = image.counters.losses ?? []
        watchedSince = image.counters.watchedSince ?? .distantPast
        var absences: [Timestamp: [Ticket]] = [:]
        for (ticket, absentSince) in image.waiting.sorted(by: { $0.ticket < $1.ticket }) {
            lanes[ticket.lane].waiting.insert(ticket.number)
            guard let absentSince else { continue }
            markAbsent(ticket, since: absentSince)
            absences[absentSince, default: []].append(ticket)
        }
        for (since, tickets) in absences.sorted(by: { $0.key < $1.key }) {
            self.absences.insert(Absence(since: since, ranges: TicketRange.covering(tickets)), isLoss: isLoss(since: since))
        }
        for (ticket, until) in image.admitted { admitted[ticket] = until }
        for deadline in image.admitted.map({ Deadline(at: $0.until, ticket: $0.ticket) }).sorted() { deadlines.insert(deadline) }
        rebuildHistory(image)
    }

    private mutating func rebuildHistory(_ image: QueueImage) {
        var releases: [Pacing.Release] = []
        for moment in image.admissions.sorted() {
            meter.count(.admission, at: moment)
            guard moment >= lastEventAt - Pacing.window else { continue }
            if releases.last?.at == moment { releases[releases.count - 1].count += 1 } else { releases.append(.init(at: moment, count: 1)) }
        }
        for moment in image.departures.sorted() { meter.count(.departure, at: moment) }
        for moment in image.turnovers.sorted() { meter.count(.turnover, at: moment) }
        pacing = Pacing(anchor: image.counters.anchor, recent: releases)
    }
}
