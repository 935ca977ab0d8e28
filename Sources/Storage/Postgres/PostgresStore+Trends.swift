public import QueueEngine
public import QueueService
import Telemetry

/// What instances did, by the hour, and what was changed meanwhile.
extension PostgresStore {
    public func keep(_ hours: [StoredHour], of instance: InstanceID, since horizon: Int) async throws(StoreError) {
        var (numbers, requests, failed, periods) =
            (PostgresColumn<Int64>(), PostgresColumn<Int64>(), PostgresColumn<Int64>(), PostgresColumn<String>())
        for hour in hours {
            numbers.append(Int64(hour.number))
            requests.append(hour.period.counts.requests.total)
            failed.append(hour.period.counts.failedRequests)
            periods.append(JSON.encode(hour.period))
        }
        try await writing(
            PostgresCall(
                """
                WITH gone AS (DELETE FROM system_hours WHERE hour < $6::bigint)
                INSERT INTO system_hours (hour, instance, requests, failed, period)
                    SELECT hour, $1::uuid, requests, failed, period
                    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS h (hour, requests, failed, period)
                ON CONFLICT (hour, instance) DO UPDATE SET requests = excluded.requests, failed = excluded.failed,
                    period = excluded.period
                """
            ).with(instance).with(numbers).with(requests).with(failed).with(periods).with(Int64(horizon)))
    }

    public func hours(since first: Int, limit: Int) async throws(StoreError) -> [StoredHour] {
        try await list(
            PostgresCall("SELECT hour, period FROM system_hours WHERE hour >= $1 ORDER BY hour DESC LIMIT $2")
                .with(Int64(first)).with(Int64(limit))
        ).reversed().map { row throws(StoreError) in
            try StoredHour(number: Int(try row.get(0, as: Int64.self)), text: try row.get(1))
        }
    }

    public func requests(since first: Int) async throws(StoreError) -> (all: Int64, failed: Int64) {
        let row = try await list(
            PostgresCall(
                """
                SELECT coalesce(sum(requests), 0)::bigint, coalesce(sum(failed), 0)::bigint FROM system_hours WHERE hour >= $1
                """
            ).with(Int64(first))
        ).first
        guard let row else { return (0, 0) }
        return (try row.get(0), try row.get(1))
    }

    public func insert(_ mark: Mark, _ receipt: Receipt?) async throws(StoreError) {
        try await writing(
            PostgresCall(
                """
                WITH given AS (
                    INSERT INTO receipts (tenant_id, key, request_hash, result)
                    SELECT $1::uuid, $2::text, $3::bytea, $4::text WHERE $2::text IS NOT NULL)
                INSERT INTO marks (id, tenant_id, at, text) VALUES ($5, $6, $7, $8)
                """
            ).with(receipt).with(mark.id).with(mark.tenant).with(mark.at).with(mark.text))
    }

    public func marks(tenant: TenantID, since moment: Timestamp, limit: Int) async throws(StoreError) -> [Mark] {
        try await rows(
            PostgresCall("SELECT id, at, text FROM marks WHERE tenant_id = $1 AND at >= $2 ORDER BY at DESC, id LIMIT $3")
                .with(tenant).with(moment).with(Int64(limit))
        ).reversed().map { row throws(StoreError) in
            Mark(id: try row.get(0), tenant: tenant, at: try row.get(1), text: try row.get(2))
        }
    }
}
