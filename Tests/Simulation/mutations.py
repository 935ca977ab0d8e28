"""Puts faults back into the code, one at a time and in a copy of the tree, and has the simulator find each.

Usage: mutations.py [NAME ...]   SECONDS=60 of processor time that each may take; ends with status 1 where one is not found.
       mutations.py --check      only looks whether the code is as each of them expects it.
"""
import os
import pathlib
import re
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / ".build/mutations"
SECONDS = float(os.environ.get("SECONDS", "60"))
ENGINE, SERVICE = "Sources/QueueEngine", "Sources/QueueService"

# Name, file, what stands there, what is put in its place, and by which checks it is to be found. Several places in lists.
# Last, where it matters, the kind of world that shows it: only months have deadlines that are far for long, and one world of
# months takes half of the time.
MUTATIONS = [
    ("cap-is-one-more", f"{ENGINE}/QueueState+Queries.swift",
     "max(0, configuration.maxConcurrentUsers - admitted.count)", "max(0, configuration.maxConcurrentUsers + 1 - admitted.count)", "cap"),
    ("rate-is-three-more", f"{ENGINE}/Pacing.swift", "rate - (recentCount - stale)", "rate + 3 - (recentCount - stale)", "rate"),
    # A release and its moment look at the absence again, so one place alone keeps people waiting, and three let the absent in.
    ("the-absent-hold-up-the-line", f"{ENGINE}/Lane.swift", "absent.isEmpty ? waiting.select(0) : waiting.first(notIn: absent)", "waiting.select(0)",
     "progress"),
    ("absent-are-admitted", [f"{ENGINE}/Lane.swift", f"{ENGINE}/QueueState+Commands.swift", f"{ENGINE}/QueueState+Queries.swift"],
     ["absent.isEmpty ? waiting.select(0) : waiting.first(notIn: absent)", "let ticket = next(at: now), !isAbsent(ticket) {",
      "return isAbsent(ticket) ? settles(ticket) : "],
     ["waiting.select(0)", "let ticket = next(at: now) {", "_ = ticket\n        return "], "order"),
    ("grace-is-half", f"{ENGINE}/QueueState+Losses.swift",
     "unseenSince ?? since) + .seconds(configuration.graceSeconds)", "unseenSince ?? since) + .seconds(configuration.graceSeconds / 2)", "state"),
    ("wakes-are-not-planned-after-commits", f"{SERVICE}/Commit/GroupCommit.swift",
     "            scheduleWake(for: batch.map(\\.queue))\n", "", "progress"),
    ("presence-is-lost-in-outages", f"{SERVICE}/Commit/Settling.swift",
     "        backlog.putBack(Backlog.Part(queue: item.id, commands: [], presence: item.presence))\n", "", "presence", "storm"),
    ("the-dead-stay-present", f"{SERVICE}/QueueService+Lease.swift",
     "guard peers.live.allSatisfy({ instance < $0 }) else { return [] }", "guard peers.live.contains(instance) else { return [] }", "presence,growth"),
    ("lost-answers-are-forgotten", f"{SERVICE}/Commit/Settling.swift", "            doubt(item.decision)\n", "", "presence", "storm"),
    ("whoever-commits-last-came-last", f"{SERVICE}/HostedQueue.swift", "min(event.at, arrival.since ?? event.at)", "max(event.at, arrival.since ?? event.at)", "presence", "storm"),
    ("polls-never-end", f"{SERVICE}/Presence.swift", "gone += first.tickets.tickets.filter { !hasLease($0) }", "gone += first.tickets.tickets.filter { _ in false }", "presence", "storm"),
    ("heartbeats-teach-nothing", f"{SERVICE}/QueueService+Lease.swift", "beat.changed.map { head in", "beat.changed.prefix(0).map { head in", "replica", "storm"),
    ("a-beat-is-made-up", f"{SERVICE}/QueueService+Lease.swift", "after: lastBeat, known", "after: Beat.Count(number: lastBeat.number + 3, at: lastBeat.at, history: lastBeat.history), known", "events"),
    ("nobody-is-first-in-turn", f"{SERVICE}/Lease.swift",
     "return live.count { (Peers.weight($0, queue), $0) < (own, instance) }",
     "return live.isEmpty ? 0 : 1 + live.count { (Peers.weight($0, queue), $0) < (own, instance) }", "progress"),
    ("look-ups-stay", f"{SERVICE}/QueueService+Directory.swift", "            $0.lookUps[id] = nil\n", "            _ = $0\n", "growth,state,events"),
    ("half-pages-are-cached-as-whole", f"{SERVICE}/Cache/QueueService+Cache.swift",
     "guard case .page(let entries) = self else { return true }", "guard case .page(let entries) = self, entries.isEmpty else { return true }", "events"),
    ("losers-do-not-catch-up", f"{SERVICE}/Commit/Settling.swift",
     "            catchUpApart(item.id, since: item.decision.base)\n", "", "cost"),
    ("tenants-see-each-other", f"{SERVICE}/QueueService+Queues.swift",
     "guard let queue = hosted[id], let snapshot = queue.snapshot, tenant == nil || queue.record.tenant == tenant else {",
     "guard let queue = hosted[id], let snapshot = queue.snapshot else {", "tenants"),
    ("estimates-count-from-the-beginning-of-time", f"{ENGINE}/QueueImage.swift",
     "watchedSince = image.counters.watchedSince ?? .distantPast", "watchedSince = .distantPast", "replica"),
    ("staleness-stays", f"{SERVICE}/Commit/BlockedQueues.swift", "(hosted[id]!.staleSince, hosted[id]!.failures, hosted[id]!.busyTurns) = (nil, 0, 0)",
     "(hosted[id]!.failures, hosted[id]!.busyTurns) = (0, 0)", "honesty", "storm"),
    ("stale-deadlines-stay", f"{ENGINE}/QueueState.swift", "        skipWhatHasMovedOn()\n        if !couldRelease", "        if !couldRelease", "progress,cost"),
    ("absent-lanes-save-turns", f"{ENGINE}/QueueState.swift", "{ lanes[lane].pass = max(lanes[lane].pass, turn) }", "{ lanes[lane].pass = max(lanes[lane].pass, min(turn, 0)) }", "fairness"),
    ("scheduled-queues-stay-shut", f"{ENGINE}/QueueState+Queries.swift", "configuration.opensAt ?? lastEventAt : nil", "configuration.opensAt : nil", "progress"),
    ("restarts-are-not-waited-for", f"{ENGINE}/Lane.swift", "guard let settling else { return firstPresent }", "guard let settling, settling == 0 else { return firstPresent }", "order"),
    ("queues-never-rest", f"{SERVICE}/QueueService+Resting.swift", "guard let queue = hosted[id], queue.snapshot != nil, queue.followers == 0,",
     "guard let queue = hosted[id], queue.snapshot == nil, queue.followers == 0,", "cost"),
    ("receipts-are-kept-for-ever", f"{SERVICE}/Retention.swift",
     "        if let receipts { rows.append(.receipts(madeBefore: now - receipts)) }\n", "", "growth"),
    ("the-dead-keep-their-leases", f"{SERVICE}/QueueService+Lease.swift",
     "guard (try? await store.removeLease(peer.id)) != nil else { continue }", "guard peer.id == instance else { continue }", "growth,cost"),
    ("far-deadlines-pile-up", f"{SERVICE}/Time/WakePlan.swift", "alarms.removeAll { $0 == moment }", "alarms = []", "growth,cost", "months"),
    ("far-alarms-hide-near-ones", f"{SERVICE}/Time/WakePlan.swift", "if let last = alarms.last, last <= moment { return nil }",
     "if !alarms.isEmpty { return nil }", "progress"),
    ("late-instances-refuse", f"{SERVICE}/QueueService+Visitors.swift", "error == .refused(.ended) || error == .refused(.notAdmitted) ||",
     "error == .refused(.ended) ||", "state"),
    ("neighbours-of-bad-data-fail", f"{SERVICE}/Commit/Settling.swift",
     "            hosted[item.id]?.search = search\n            retry(item)\n", "            fail(item, error)\n", "state"),
    ("bad-data-is-an-outage", f"{SERVICE}/Commit/Settling.swift", "        case .rejected where item.entries.count == 1: fail(item, error)\n",
     "        case .rejected where item.entries.count == 1:\n            fail(item, error)\n            beginOutage(.unavailable(\"away\"))\n",
     "state"),
    ("completing-twice-fails", f"{SERVICE}/QueueService+Visitors.swift",
     ["        if session.status == status { return session }\n", "        if let ended, ended.status != status { throw"],
     ["", "        if ended != nil { throw"], "state"),
    ("changed-shares-owe-turns", f"{ENGINE}/QueueState.swift", "where schedule.isShared(lane) {\n            // A lane that had", "where schedule.isShared(lane) && turn < 0 {\n            // A lane that had",
     "fairness"),
    ("repeated-writes-never-end", [f"{SERVICE}/QueueService+Queues.swift", f"{SERVICE}/WriteOnce.swift"],
     ["            return try await announcement(seq, of: id)\n", "for _ in 0..<QueueService.raceTurns {"],
     ["            return try? await announcement(seq, of: id)\n", "for _ in 0..<1_000_000 {"], "cost"),
    ("conditions-are-not-looked-at", f"{SERVICE}/QueueService+Queues.swift",
     "            try condition?.check(decision.record)\n            var record", "            var record", "state"),
    ("addresses-stay-with-the-queue-before", f"{SERVICE}/QueueService.swift",
     "        if slugs[old.slug] == old.id { slugs[old.slug] = nil }\n", "", "state"),
    ("deletions-leave-the-admitted", f"{SERVICE}/QueueService+Queues.swift",
     ["state.admitted.keys.prefix(QueueService.endedAtOnce)", "return (state.admitted.isEmpty, state.head, "],
     ["state.admitted.keys.prefix(0)", "return (true, state.head, "], "state"),
]


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def write(path, data):
    """Only where it differs, so that only what differs is compiled anew."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_tree():
    for name in ("Package.swift", "Package.resolved", "Sources", "Tests", "Benchmarks", "web-client"):
        source, copy = ROOT / name, COPY / name
        wanted = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source] if source.exists() else []
        for path in wanted:
            write(COPY / path.relative_to(ROOT), path.read_bytes())
        for path in copy.rglob("*") if copy.is_dir() else []:
            if path.is_file() and not (ROOT / path.relative_to(COPY)).exists():
                path.unlink()
    # What has been fetched need not be fetched again.
    for name in ("checkouts", "repositories", "artifacts", "workspace-state.json"):
        if (ROOT / ".build" / name).exists() and not (COPY / ".build" / name).exists():
            (COPY / ".build").mkdir(parents=True, exist_ok=True)
            run(["cp", "-a", str(ROOT / ".build" / name), str(COPY / ".build" / name)], check=True)


def build():
    # File by file: of a module of which one file has changed the others are not compiled again.
    flags = [word for flag in ("-no-whole-module-optimization", "-incremental", "-enable-batch-mode") for word in ("-Xswiftc", flag)]
    result = run(["swift", "build", "-c", "release", "--product", "simulate", *flags], cwd=COPY)
    return "" if result.returncode == 0 else result.stdout[-2_000:]


def simulate(kinds, world):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [COPY / ".build/release/simulate", "--core-seconds", SECONDS, "--seconds", 20 * SECONDS, "--findings", 1, "--only", kinds]
    command += ["--kind", world] if world else []
    result = run([str(word) for word in command])
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return result.returncode, seconds, re.findall(r"^SEED .*$", result.stdout, re.M) or result.stdout[-500:].split("\n")


def places(file, old, new):
    return [(file, old, new)] if isinstance(old, str) else list(zip([file] * len(old) if isinstance(file, str) else file, old, new))


def check():
    """Ends with status 1 where the code has changed under a mutation."""
    wrong = [f"{name}: write it anew ({path})" for name, file, old, new, *_ in MUTATIONS
             for path, was, _ in places(file, old, new) if (ROOT / path).read_text().count(was) != 1]
    sys.exit("\n".join(wrong) or None)


def put_in(file, old, new):
    """The texts of the files before; an error where one is not as it is thought to be."""
    texts = {}
    for name, was, becomes in places(file, old, new):
        path = COPY / name
        texts.setdefault(path, path.read_text())
        if path.read_text().count(was) != 1:
            for changed, text in texts.items():
                changed.write_text(text)
            raise ValueError(f"the code has changed; write this mutation anew ({name})")
        path.write_text(path.read_text().replace(was, becomes))
    return texts


def attempt(name, file, old, new, kinds, world=None):
    try:
        texts = put_in(file, old, new)
    except ValueError as error:
        return f"{name}: {error}"
    try:
        if error := build():
            return f"{name}: does not compile\n{error}"
        status, seconds, found = simulate(kinds, world)
    finally:
        for path, text in texts.items():
            path.write_text(text)
    # A trap of the program is a finding, too: the engine states what must hold.
    if status == 0:
        return f"{name}: not found in {seconds:.0f} s"
    print(f"{name}: found in {seconds:.1f} s: {found[0][:200]}", flush=True)
    return None


def main():
    wanted = set(sys.argv[1:])
    if wanted == {"--check"}:
        check()
    copy_tree()
    missed = []
    for mutation in MUTATIONS:
        if (not wanted or mutation[0] in wanted) and (text := attempt(*mutation)):
            missed.append(text)
            print(text, flush=True)
    sys.exit(1 if missed else 0)


main()
