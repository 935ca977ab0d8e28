import Telemetry

/// What an instance's own metrics tell.
enum ServerChecks {
    static func diagnose(_ window: MetricsWindow) -> [Diagnosis] {
        [
            storeDown, staleQueues, busDown, slowResponses, failures, processor, memory, starvedLoop, descriptors, exhaustedPool,
            slowCommits, slowPeers, refusals, replicaBehind, lateAdmissions, lateReleases, uselessCache, fullDisk, busyNetwork,
            busyForNothing,
        ].compactMap { $0(window) }
    }

    // MARK: What it depends on

    private static func storeDown(_ window: MetricsWindow) -> Diagnosis? {
        guard window.after.value("stanchion_store_down") == 1 else { return nil }
        return Diagnosis(
            "store_down", .critical, .database, symptom: "The instance cannot write: nobody can join, nobody is let in.",
            evidence: ["stanchion_store_down is 1"] + storeErrors(window),
            cause: "\"full\" is a disk without room; \"unavailable\" is a server that is away, refuses, or is not reached.",
            remedy:
                "Bring the database back, or room on its disk. The instance asks every second and goes on by itself: do not restart it.",
            check: "`store` is `ok` in /ready, and joins are answered.")
    }

    private static func storeErrors(_ window: MetricsWindow) -> [String] {
        let errors = window.after.values("stanchion_store_errors_total", by: "kind").filter { $0.value > 0 }
        return Words.largest(errors).map { "errors since the start, \($0)" }
    }

    private static func staleQueues(_ window: MetricsWindow) -> Diagnosis? {
        guard let count = window.after.value("stanchion_queues_stale"), count > 0 else { return nil }
        return Diagnosis(
            "queues_stale", .critical, .database, symptom: "Some queues cannot be written or read: nobody is let in there.",
            evidence: ["stanchion_queues_stale is \(Words.rounded(count))"] + storeErrors(window),
            cause: "\"busy\" is a row that another transaction has locked, or no free connection; \"corrupt\" is a damaged page.",
            remedy:
                "End the transaction that holds the lock (pg_stat_activity), or restore what is damaged. The log names the queues.",
            check: "A join to the queue succeeds, and `staleQueues` is 0 in /ready.")
    }

    private static func busDown(_ window: MetricsWindow) -> Diagnosis? {
        guard window.after.value("stanchion_bus_down") == 1 else { return nil }
        return Diagnosis(
            "bus_down", .warning, .redis, symptom: "Redis carries nothing for this instance: what others do is shown a second later.",
            evidence: [
                "stanchion_bus_down is 1",
                "connections lost since the start: \(Words.rounded(window.after.value("stanchion_bus_links_lost_total") ?? 0))",
            ],
            cause: "Redis is away, refuses the password, or is not reached from this machine.",
            remedy: "Bring Redis back. Nothing is lost meanwhile: instances read from the database what they were not told.",
            check: "`bus` is `ok` in /ready.")
    }

    private static func exhaustedPool(_ window: MetricsWindow) -> Diagnosis? {
        let waiting = window.after.value("stanchion_store_requests_waiting") ?? 0
        let longest = window.after.value("stanchion_store_wait_max_seconds") ?? 0
        guard longest > Targets.storeWait.warning || waiting > 0 && (window.before.value("stanchion_store_requests_waiting") ?? 0) > 0
        else { return nil }
        return Diagnosis(
            "pool_exhausted", .warning, .database, symptom: "Requests wait for a connection to the database.",
            evidence: [
                "\(Words.rounded(window.after.value("stanchion_store_connections_busy") ?? 0)) of "
                    + "\(Words.rounded(window.after.value("stanchion_store_connections") ?? 0)) connections are in use, "
                    + "\(Words.rounded(waiting)) requests wait, the longest wait was \(Words.time(longest))"
            ],
            cause: "Each connection is held for too long (see what the database says of locks and commits), or there are too few.",
            remedy: "Look for what is slow first; then raise --database-connections, within Postgres' max_connections over all instances.",
            check: "stanchion_store_requests_waiting is 0 again.")
    }

    private static func slowCommits(_ window: MetricsWindow) -> Diagnosis? {
        let operations = ["append", "entries", "session", "beat"]
        let slow = operations.compactMap { name -> (name: String, p95: Double)? in
            window.quantile(0.95, "stanchion_store_operation_duration_seconds", ["operation": name]).map { (name, $0) }
        }.filter { $0.p95 > Targets.queryP95.warning }
        guard let worst = slow.map(\.p95).max(), let severity = Diagnosis.Severity(worst, Targets.queryP95) else { return nil }
        return Diagnosis(
            "slow_store", severity, .database, symptom: "The database takes long to answer.",
            evidence: slow.map {
                "\($0.name): 95 of 100 within \(Words.time($0.p95)); \(Words.time(Targets.queryP95.target)) is the target"
            },
            cause: "A lock that somebody holds, a disk that is slow to sync, a missing index, or a machine that has too much to do.",
            remedy: "`stanchion doctor --database …` tells these apart.",
            check: "stanchion_store_operation_duration_seconds is below 500 ms at the 95th percentile.")
    }

    private static func replicaBehind(_ window: MetricsWindow) -> Diagnosis? {
        guard let now = window.after.value("stanchion_replica_lag_events_max"), now > 0,
            let then = window.before.value("stanchion_replica_lag_events_max"), then > 0, now >= then
        else { return nil }
        return Diagnosis(
            "replica_behind", .warning, .database, symptom: "The instance does not catch up with what others have written.",
            evidence: ["\(Words.rounded(then)) events behind, and \(Words.rounded(now)) after \(Words.time(window.seconds))"],
            cause: "Reading the log is slow, or this machine has too much to do.",
            remedy: "Look at the database and the processors; one instance more takes visitors off this one.",
            check: "`laggingQueues` is 0 in /ready.")
    }

    // MARK: What people notice

    private static func slowResponses(_ window: MetricsWindow) -> Diagnosis? {
        let name = "stanchion_http_request_duration_seconds"
        guard let p95 = window.quantile(0.95, name, least: 10), let severity = Diagnosis.Severity(p95, Targets.responseP95) else {
            return nil
        }
        let routes = window.increases(name + "_sum", by: "route")
        return Diagnosis(
            "slow_responses", severity, .api, symptom: "Requests are answered slowly.",
            evidence: ["95 of 100 within \(Words.time(p95)); \(words(Targets.responseP95, Words.time))"]
                + Words.largest(routes).map { "most time went into \($0) s" },
            cause: "Joins and writes wait for the database; reads do not, and are slow where the processors are full.",
            remedy: "Follow the other findings here: the database first, then the processors.",
            check: "stanchion_http_request_duration_seconds at the 95th percentile.")
    }

    private static func failures(_ window: MetricsWindow) -> Diagnosis? {
        let (all, failed) = (
            window.increase("stanchion_http_requests_total"), window.increase("stanchion_http_requests_total", ["class": "5xx"])
        )
        guard failed >= 5, let severity = Diagnosis.Severity(failed / all, Targets.errors) else { return nil }
        return Diagnosis(
            "errors", severity, .api, symptom: "Requests fail.",
            evidence: [
                "\(Words.rounded(failed)) of \(Words.rounded(all)) within \(Words.time(window.seconds)) were answered with 5xx "
                    + "(\(Words.percent(failed / all))); \(words(Targets.errors, Words.percent))"
            ] + Words.largest(window.increases("stanchion_http_problems_total", by: "code")).map { "code \($0)" },
            cause: "The codes say why; `unavailable` and `storage_full` are the database.",
            remedy: "Follow the other findings here, and look into the log.", check: "stanchion:http_errors:ratio_rate5m falls.")
    }

    private static func lateAdmissions(_ window: MetricsWindow) -> Diagnosis? {
        guard let p99 = window.quantile(0.99, "stanchion_admission_delay_seconds", least: 5), p99 > Targets.admissionDelayP99.warning else {
            return nil
        }
        return Diagnosis(
            "late_admissions", .warning, .api, symptom: "People hear late of being let in.",
            evidence: ["99 of 100 within \(Words.time(p99))"],
            cause: "Their instance is told late (Redis), or its loops have too much to do.",
            remedy: "Look at the bus and the processors.", check: "stanchion_admission_delay_seconds at the 99th percentile is below 1 s.")
    }

    private static func lateReleases(_ window: MetricsWindow) -> Diagnosis? {
        guard let mean = window.mean("stanchion_release_lag_seconds"), let severity = Diagnosis.Severity(mean, Targets.processing) else {
            return nil
        }
        return Diagnosis(
            "late_releases", severity, .api, symptom: "People are let in later than they could be.",
            evidence: ["\(Words.time(mean)) late in the mean; \(words(Targets.processing, Words.time))"],
            cause: "The database was away, or commits take long; or the instance had no processor.",
            remedy: "Follow the other findings here: the database first. An outage that is over shows until the line has caught up.",
            check: "stanchion_release_lag_seconds, its sum by its count, is below 1 s.")
    }

    private static func refusals(_ window: MetricsWindow) -> Diagnosis? {
        let refused = window.increases("stanchion_refused_total", by: "reason").filter { ["connections", "memory"].contains($0.key) }
        guard !refused.isEmpty else { return nil }
        return Diagnosis(
            "visitors_refused", .critical, .api, symptom: "Newcomers are turned away.",
            evidence: Words.largest(refused).map { "refused within \(Words.time(window.seconds)) for want of \($0)" },
            cause: "The instance holds as many as it may.",
            remedy: "One instance more; or raise --max-connections, or the memory that the process may use.",
            check: "stanchion_refused_total stands still.")
    }

    // MARK: The machine

    private static func processor(_ window: MetricsWindow) -> Diagnosis? {
        guard let processors = window.after.value("stanchion_processors"), processors > 0, window.seconds > 0 else { return nil }
        let share = window.increase("process_cpu_seconds_total") / window.seconds / processors
        guard let severity = Diagnosis.Severity(share, Targets.processor) else { return nil }
        return Diagnosis(
            "processor_full", severity, .processor, symptom: "The processors are nearly full.",
            evidence: ["\(Words.percent(share)) of \(Words.rounded(processors)) processors; \(words(Targets.processor, Words.percent))"],
            cause: "More people than this machine is for (`stanchion capacity`), or many who come at once.",
            remedy: "One instance more; visitors are spread by the balancer. `perf record -g` shows what the time goes into.",
            check: "process_cpu_seconds_total grows by less than 0.7 a second and processor.")
    }

    private static func memory(_ window: MetricsWindow) -> Diagnosis? {
        guard let used = window.after.value("stanchion_memory_used_bytes"), let limit = window.after.value("stanchion_memory_limit_bytes"),
            limit > 0, let severity = Diagnosis.Severity(used / limit, Targets.memory)
        else { return nil }
        return Diagnosis(
            "memory_short", severity, .memory, symptom: "Memory runs short.",
            evidence: [
                "\(Words.rounded(used / 1e6)) of \(Words.rounded(limit / 1e6)) MB (\(Words.percent(used / limit))); "
                    + "at 90 % newcomers are refused",
                "the process has \(Words.rounded((window.after.value("process_resident_memory_bytes") ?? 0) / 1e6)) MB, "
                    + "with \(Words.rounded(window.after.value("stanchion_connections_open") ?? 0)) connections",
            ],
            cause: "More connections than the limit is for, clients that do not read, or another process on this machine.",
            remedy: "Raise the limit (MemoryMax of the unit), or start one instance more; lower --outbox-bytes where clients are slow.",
            check: "stanchion_memory_used_bytes is below three quarters of the limit.")
    }

    private static func fullDisk(_ window: MetricsWindow) -> Diagnosis? {
        guard let used = window.after.value("stanchion_disk_used_ratio") else { return nil }
        return Diagnosis(
            diskUsed: used,
            evidence: "\(Words.percent(used)) of the store's disk are in use; \(words(Targets.disk, Words.percent))")
    }

    private static func busyNetwork(_ window: MetricsWindow) -> Diagnosis? {
        guard let room = window.after.value("stanchion_network_bytes_per_second"), room > 0, window.seconds > 0 else { return nil }
        let carried = window.increase("stanchion_network_received_bytes_total") + window.increase("stanchion_network_sent_bytes_total")
        let share = carried / window.seconds / room
        guard let severity = Diagnosis.Severity(share, Targets.network) else { return nil }
        return Diagnosis(
            "network_full", severity, .network, symptom: "The network is nearly full.",
            evidence: ["\(Words.percent(share)) of what it can carry; \(words(Targets.network, Words.percent))"],
            cause: "More people than this machine is for, or many who asked for `exact` positions.",
            remedy: "One instance more on another machine; a longer --update-milliseconds.",
            check: "stanchion_network_sent_bytes_total grows more slowly.")
    }

    /// Processors in use although no event is committed and hardly anything asked: the program goes round in a circle.
    private static func busyForNothing(_ window: MetricsWindow) -> Diagnosis? {
        guard window.seconds > 0, window.increase("stanchion_events_total") == 0 else { return nil }
        let used = window.increase("process_cpu_seconds_total") / window.seconds
        let requests = window.increase("stanchion_http_requests_total") / window.seconds
        let frames = window.increase("stanchion_position_frames_total") / window.seconds
        let idle = window.increase("stanchion_idle_ticks_total")
        guard used > Targets.idleProcessors && requests < 1 && frames < 1 || idle > 0 else { return nil }
        return Diagnosis(
            "busy_for_nothing", .warning, .processor, symptom: "The instance works, and nothing happens.",
            evidence: [
                "\(Words.rounded(used)) processors in use, no event, \(Words.rounded(requests)) requests a second",
                "ticks that decided nothing: \(Words.rounded(idle))",
            ],
            cause: "A fault of the program.",
            remedy: "Take a profile (GET /v1/system/profile) and report it; restarting the instance ends it.",
            check: "process_cpu_seconds_total stands nearly still while nobody is there.")
    }

    private static func starvedLoop(_ window: MetricsWindow) -> Diagnosis? {
        guard let turn = window.after.value("stanchion_loop_turn_max_seconds"),
            let severity = Diagnosis.Severity(turn, Targets.loopTurn)
        else { return nil }
        return Diagnosis(
            "loop_starved", severity, .processor, symptom: "Connections wait for each other.",
            evidence: ["one turn of an event loop took \(Words.time(turn)) within the last \(Words.time(window.seconds))"],
            cause: "The process was stopped or had no processor (others use it, or a limit throttles it), or a turn had too much to do.",
            remedy: "Look at what else runs here and at the cgroup's cpu.stat; `perf record -g` shows what a turn does.",
            check: "stanchion_loop_turn_max_seconds is below 0.1.")
    }

    private static func descriptors(_ window: MetricsWindow) -> Diagnosis? {
        guard let open = window.after.value("process_open_fds"), let most = window.after.value("process_max_fds"), most > 0 else {
            return nil
        }
        let exhausted = window.increase("stanchion_accepts_exhausted_total")
        guard open / most > Targets.descriptors.warning || exhausted > 0 else { return nil }
        return Diagnosis(
            "descriptors_short", open / most > Targets.descriptors.critical! || exhausted > 0 ? .critical : .warning, .api,
            symptom: "Descriptors run out.",
            evidence: [
                "\(Words.rounded(open)) of \(Words.rounded(most)) are open; \(Words.rounded(exhausted)) accepts failed for want of one"
            ],
            cause: "Each connection needs one, and the process may have no more.",
            remedy: "Raise LimitNOFILE of the unit (or `ulimit -n`) and restart: it drains, and its visitors move.",
            check: "process_max_fds is the new limit.")
    }

    private static func slowPeers(_ window: MetricsWindow) -> Diagnosis? {
        let closed = window.increase("stanchion_slow_consumers_closed_total") + window.increase("stanchion_dead_peers_closed_total")
        let slow = window.increases("stanchion_slow_clients_total", by: "kind")
        guard closed + slow.values.reduce(0, +) >= 1 else { return nil }
        return Diagnosis(
            "slow_peers", .warning, .network, symptom: "Clients do not read, or do not answer, in time.",
            evidence: ["\(Words.rounded(closed)) WebSockets were closed for it within \(Words.time(window.seconds))"]
                + Words.largest(slow).map { "waited for in vain, \($0)" },
            cause: "Slow networks, phones that sleep, a balancer that buffers or drops; or somebody who holds connections on purpose.",
            remedy: "A few are ordinary. Where they are many: look at the balancer, and at the addresses that they come from.",
            check: "stanchion_slow_clients_total stands still.")
    }

    private static func uselessCache(_ window: MetricsWindow) -> Diagnosis? {
        let levels = window.after.values("stanchion_cache_reads_total", by: "level")
        let all = levels.values.reduce(0, +)
        guard all >= 100, let store = levels["store"], store > 0.9 * all else { return nil }
        return Diagnosis(
            "cache_useless", .warning, .cache, symptom: "What is kept in the cache is not what is asked for.",
            evidence: ["\(Words.rounded(store)) of \(Words.rounded(all)) reads of logs went to the database since the start"],
            cause: "Readers are further back than the cache reaches, or --cache-entries is small or 0.",
            remedy: "Raise --cache-entries; with --redis instances share what they have read.",
            check: "the share of `memory` and `shared` in stanchion_cache_reads_total grows.")
    }
}

/// Where warnings begin, in words.
private func words(_ limit: Targets.Limit, _ word: (Double) -> String) -> String {
    "a warning from \(word(limit.warning))" + (limit.critical.map { ", critical from \(word($0))" } ?? "")
}
