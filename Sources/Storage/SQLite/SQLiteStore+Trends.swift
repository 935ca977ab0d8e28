import Foundation
import GRDB
public import QueueEngine
public import QueueService
import Telemetry

/// What instances did, by the hour, and what was changed meanwhile.
extension SQLiteStore {
    public func keep(_ hours: [StoredHour], of instance: InstanceID, since horizon: Int) async throws(StoreError) {
        try await writing { db in
            for hour in hours {
                try db.execute(
                    sql: """
                        INSERT INTO system_hours (hour, instance, requests, failed, period) VALUES (?, ?, ?, ?, ?)
                        ON CONFLICT (hour, instance) DO UPDATE SET requests = excluded.requests, failed = excluded.failed,
                            period = excluded.period
                        """,
                    arguments: [
                        hour.number, instance.data, hour.period.counts.requests.total, hour.period.counts.failedRequests,
                        JSON.encode(hour.period),
                    ])
            }
            try db.execute(sql: "DELETE FROM system_hours WHERE hour < ?", arguments: [horizon])
        }
    }

    public func hours(since first: Int, limit: Int) async throws(StoreError) -> [StoredHour] {
        try await reading { db in
            try Row.fetchAll(
                db, sql: "SELECT hour, period FROM system_hours WHERE hour >= ? ORDER BY hour DESC LIMIT ?", arguments: [first, limit]
            ).map { (number: $0[0] as Int, text: $0[1] as String) }
        }.reversed().map { hour throws(StoreError) in try StoredHour(number: hour.number, text: hour.text) }
    }

    public func requests(since first: Int) async throws(StoreError) -> (all: Int64, failed: Int64) {
        try await reading { db in
            let row = try Row.fetchOne(
                db, sql: "SELECT coalesce(sum(requests), 0), coalesce(sum(failed), 0) FROM system_hours WHERE hour >= ?",
                arguments: [first])
            return row.map { ($0[0], $0[1]) } ?? (0, 0)
        }
    }

    public func insert(_ mark: Mark, _ receipt: Receipt?) async throws(StoreError) {
        try await writingTogether { db in
            try SQLiteStore.insert(receipt, db)
            try db.execute(
                sql: "INSERT INTO marks (id, tenant_id, at, text) VALUES (?, ?, ?, ?)",
                arguments: [mark.id.data, mark.tenant.data, mark.at.microseconds, mark.text])
        }
    }

    public func marks(tenant: TenantID, since moment: Timestamp, limit: Int) async throws(StoreError) -> [Mark] {
        try await reading { db in
            try Row.fetchAll(
                db, sql: "SELECT id, at, text FROM marks WHERE tenant_id = ? AND at >= ? ORDER BY at DESC, id LIMIT ?",
                arguments: [tenant.data, moment.microseconds, limit]
            ).reversed().compactMap { row in
                Identifier<Mark>(bytes: row[0] as Data).map {
                    Mark(id: $0, tenant: tenant, at: Timestamp(microseconds: row[1]), text: row[2])
                }
            }
        }
    }
}
