import HTTPTypes
import Locks
import QueueEngine
import QueueService
import Synchronization
import Telemetry

/// Operators: how the servers do, by the minute and by the day, and what was changed meanwhile.
extension ServerCore {
    func addSystemRoutes(_ router: inout Router) {
        router.on(.get, "v1/system/kpis") { [self] request, _ in
            _ = try await keys.authenticate(request, atLeast: .operator)
            return kpis()
        }
        router.on(.get, "v1/system/history") { [self] request, _ in
            _ = try await keys.authenticate(request, atLeast: .operator)
            let minutes = try request.integer("minutes", in: 1...60, default: 60)
            let points = try request.integer("points", in: 1...360, default: 120)
            let parts = record.withLock { $0.history.parts(seconds: Double(60 * minutes), count: points) }
            return .json { bytes in
                bytes.member("instance", service.instance)
                bytes.key("points")
                bytes.array(parts) { $1.write(to: &$0) }
            }
        }
        router.on(.get, "v1/system/trends") { [self] request, _ in
            let key = try await keys.authenticate(request, atLeast: .operator)
            return try await trends(tenant: key.tenant, days: try request.integer("days", in: 1...settings.trendDays, default: 7))
        }
        router.on(.get, "v1/system/profile") { [self] request, _ in
            _ = try await keys.authenticate(request, atLeast: .admin)
            let seconds = try request.integer("seconds", in: 1...60, default: 10)
            guard !isProfiling.exchange(true, ordering: .relaxed) else { throw Problem.profileUnderWay }
            defer { isProfiling.store(false, ordering: .relaxed) }
            // What is found is taken apart for it, so not on the loop that was asked.
            let stacks = try await Task.detached { try await Profile.take(seconds: seconds) }.value
            var response = Response(.ok, body: stacks, type: "text/plain; charset=utf-8")
            response.fields[.cacheControl] = "no-store"
            return response
        }
        router.on(.post, "v1/system/marks") { [self] request, _ in
            let key = try await keys.authenticate(request, atLeast: .operator)
            var fields = try request.json()
            let text = try fields.requiredString("text")
            try fields.finish(known: "text")
            let now = clock.timeOfDay(clock.now())
            let mark = Mark(id: Identifier(at: now, random: (random.next(), random.next())), tenant: key.tenant, at: now, text: text)
            let result = try await writingOnce(try request.once(key), result: mark.result) { receipt throws(StoreError) in
                try await store.insert(mark, receipt)
            }
            guard let mark = Mark(result, tenant: key.tenant, text: text) else { throw ServiceError.keyReused }
            return .json(.created) { mark.writeMembers(to: &$0) }
        }
    }

    private func kpis() -> Response {
        let (windows, budget) = record.withLock { record in
            ([1, 5, 60].map { (minutes: $0, period: record.history.last(seconds: Double(60 * $0))) }, record.budget)
        }
        return .json { bytes in
            bytes.member("instance", service.instance)
            bytes.member("at", clock.timeOfDay(clock.now()))
            bytes.key("kpis")
            bytes.array(KPI.all) { bytes, kpi in bytes.object { kpi.write(windows, to: &$0) } }
            bytes.member("errorBudget", object: { (budget ?? ErrorBudget(requests: 0, failed: 0)).writeMembers(to: &$0) })
        }
    }

    /// Points of trends at most; more days are told in longer ones.
    private static let trendPoints = 336
    private static let trendRows = 20_000

    private func trends(tenant: TenantID, days: Int) async throws -> Response {
        let hoursEach = max(1, (24 * days + ServerCore.trendPoints - 1) / ServerCore.trendPoints)
        let first = (presentHour - 24 * days + 1) / hoursEach * hoursEach
        let since = Timestamp(seconds: Double(3_600 * first))
        let marks = try await asking { () throws(StoreError) in try await store.marks(tenant: tenant, since: since, limit: 1_000) }
        // Thousands of rows are taken apart for it, so not on the loop that was asked.
        let reading = Task.detached { [store] in try await store.hours(since: first, limit: ServerCore.trendRows) }
        guard let hours = try? await reading.value else { throw Problem.storeAway }
        let points = ServerCore.points(hours, hoursEach: hoursEach, until: clock.timeOfDay(clock.now()).seconds)
        return .json { bytes in
            bytes.key("points")
            bytes.array(points) { $1.write(to: &$0) }
            bytes.key("marks")
            bytes.array(marks) { bytes, mark in bytes.object { mark.writeMembers(to: &$0) } }
        }
    }

    /// All instances' hours together, so many in a point.
    private static func points(_ hours: [StoredHour], hoursEach: Int, until now: Double) -> [History.Point] {
        Dictionary(grouping: hours) { $0.number / hoursEach }.sorted { $0.key < $1.key }.compactMap { number, hours in
            let start = Double(3_600 * hoursEach * number)
            let end = min(now, start + Double(3_600 * hoursEach))
            return Period.together(hours.map(\.period), over: end - start).map { History.Point(end: end, period: $0) }
        }
    }
}

extension KPI {
    fileprivate func write(_ windows: [(minutes: Int, period: Period?)], to bytes: inout [UInt8]) {
        bytes.member("name", "\(group).\(name)")
        bytes.member("unit", unit.rawValue)
        bytes.member("target", target)
        bytes.key("windows")
        bytes.array(windows) { bytes, window in
            let (value, state) = look(at: window.period)
            bytes.object {
                $0.member("minutes", window.minutes)
                $0.member("seconds", window.period?.seconds ?? 0)
                $0.member("value", value)
                $0.member("state", state.rawValue)
            }
        }
    }
}

extension ErrorBudget {
    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("promise", ErrorBudget.promise)
        bytes.member("days", ErrorBudget.days)
        bytes.member("requests", Int(requests))
        bytes.member("failed", Int(failed))
        bytes.member("left", left)
        bytes.member("state", state.rawValue)
    }
}

extension History.Point {
    fileprivate func write(to bytes: inout [UInt8]) {
        bytes.object { bytes in
            bytes.member("at", Timestamp(seconds: end))
            period.writeMembers(to: &bytes)
        }
    }
}

extension Period {
    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("seconds", seconds)
        bytes.member("requestsPerMinute", perMinute(counts.requests.total) ?? 0)
        bytes.member("errorShare", errorShare)
        bytes.member("responseP50", counts.requests.quantile(0.5))
        bytes.member("responseP95", counts.requests.quantile(0.95))
        bytes.member("responseP99", counts.requests.quantile(0.99))
        bytes.member("queryP95", counts.statements.quantile(0.95))
        bytes.member("joinsPerMinute", perMinute(counts.joins) ?? 0)
        bytes.member("admissionsPerMinute", perMinute(counts.admitted) ?? 0)
        bytes.member("waitSeconds", meanWait)
        bytes.member("connections", mean.connections)
        bytes.member("waiting", mean.waiting)
        bytes.member("waitingMost", most.waiting)
        bytes.member("inside", mean.inside)
        bytes.member("processor", processorShare)
        bytes.member("memory", mean.memory)
        bytes.member("disk", mean.disk)
        bytes.member("pool", mean.pool)
        bytes.member("network", networkShare)
    }
}

extension Mark {
    /// What a receipt keeps of it; its text is the request's.
    fileprivate var result: String { "\(id) \(at.microseconds)" }

    /// nil where the receipt is none of a mark's.
    fileprivate init?(_ result: String, tenant: TenantID, text: String) {
        let words = result.split(separator: " ").map(String.init)
        guard words.count == 2, let id = Identifier<Mark>(words[0]), let at = Int64(words[1]) else { return nil }
        self.init(id: id, tenant: tenant, at: Timestamp(microseconds: at), text: text)
    }

    fileprivate func writeMembers(to bytes: inout [UInt8]) {
        bytes.member("id", id)
        bytes.member("at", at)
        bytes.member("text", text)
    }
}
