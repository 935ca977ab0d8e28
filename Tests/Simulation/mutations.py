"""Puts faults back into the code, one at a time and in a copy of the tree, and has the simulator find each.

Usage: mutations.py [NAME ...]   SECONDS=60 that each may take; ends with status 1 where one is not found.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / ".build/mutations"
SECONDS = float(os.environ.get("SECONDS", "60"))
ENGINE, SERVICE = "Sources/QueueEngine", "Sources/QueueService"

# Name, file, what stands there, what is put in its place, and by which checks it is to be found.
MUTATIONS = [
    ("cap-is-one-more", f"{ENGINE}/QueueState+Queries.swift",
     "max(0, configuration.maxConcurrentUsers - admitted.count)", "max(0, configuration.maxConcurrentUsers + 1 - admitted.count)", "cap"),
    ("rate-is-three-more", f"{ENGINE}/Pacing.swift", "rate - (recentCount - stale)", "rate + 3 - (recentCount - stale)", "rate"),
    ("absent-are-admitted", f"{ENGINE}/Lane.swift", "absent.isEmpty ? waiting.select(0) : waiting.first(notIn: absent)", "waiting.select(0)", "order"),
    ("grace-is-half", f"{ENGINE}/QueueState+Losses.swift",
     "let grace = since + .seconds(configuration.graceSeconds)", "let grace = since + .seconds(configuration.graceSeconds / 2)", "state"),
    ("wakes-are-not-planned-after-commits", f"{SERVICE}/Commit/GroupCommit.swift",
     "            scheduleWake(for: batch.map(\\.queue))\n", "", "progress"),
    ("presence-is-lost-in-outages", f"{SERVICE}/Commit/GroupCommit.swift",
     "        backlog.putBack(Backlog.Part(queue: item.id, commands: [], presence: item.presence))\n", "", "presence"),
    ("the-dead-stay-present", f"{SERVICE}/QueueService+Lease.swift",
     "guard peers.live.allSatisfy({ instance < $0 }) else { return [] }", "guard peers.live.contains(instance) else { return [] }", "presence"),
    ("lost-answers-are-forgotten", f"{SERVICE}/DoubtfulJoin.swift",
     "guard case .inDoubt = error else { return }", "guard case .full = error else { return }", "presence"),
    ("polls-never-end", f"{SERVICE}/Presence.swift", "gone += first.tickets.tickets.filter { !hasLease($0) }", "gone += first.tickets.tickets.filter { _ in false }", "presence"),
    ("heartbeats-teach-nothing", f"{SERVICE}/QueueService+Lease.swift", "for head in beat.changed {", "for head in beat.changed.prefix(0) {", "replica"),
    ("nobody-is-first-in-turn", f"{SERVICE}/Lease.swift",
     "return live.count { (Peers.weight($0, queue), $0) < (own, instance) }",
     "return live.isEmpty ? 0 : 1 + live.count { (Peers.weight($0, queue), $0) < (own, instance) }", "progress"),
    ("look-ups-stay", f"{SERVICE}/QueueService+Directory.swift", "                defer { lookUps[id] = nil }\n", "", "growth"),
    ("half-pages-are-cached-as-whole", f"{SERVICE}/Cache/QueueService+Cache.swift",
     "guard case .page(let entries) = self else { return true }", "guard case .page(let entries) = self, entries.isEmpty else { return true }", "events"),
    ("losers-do-not-catch-up", f"{SERVICE}/Commit/GroupCommit.swift",
     "            catchUpApart(item.id, since: item.decision.base)\n", "", "cost"),
    ("tenants-see-each-other", f"{SERVICE}/QueueService+Queues.swift",
     "guard let queue = hosted[id], let snapshot = queue.snapshot, tenant == nil || queue.record.tenant == tenant else {",
     "guard let queue = hosted[id], let snapshot = queue.snapshot else {", "tenants"),
    ("estimates-count-from-the-beginning-of-time", f"{ENGINE}/QueueImage.swift",
     "watchedSince = image.counters.watchedSince ?? .distantPast", "watchedSince = .distantPast", "replica"),
    ("stale-deadlines-stay", f"{ENGINE}/QueueState.swift", "        liftIdleLanes()\n        skipWhatHasMovedOn()\n", "        liftIdleLanes()\n", "progress,cost"),
    ("absent-lanes-save-turns", f"{ENGINE}/QueueState.swift", "        liftIdleLanes()\n        skipWhatHasMovedOn()\n", "        skipWhatHasMovedOn()\n", "fairness"),
    ("scheduled-queues-stay-shut", f"{ENGINE}/QueueState+Queries.swift", "configuration.opensAt ?? lastEventAt : nil", "configuration.opensAt : nil", "progress"),
    ("restarts-are-not-waited-for", f"{ENGINE}/Lane.swift", "guard !settling.isEmpty else { return firstPresent }", "guard settling.isEmpty else { return firstPresent }", "order"),
    ("due-queues-are-never-taken", f"{SERVICE}/Time/WakePlan.swift", "            planned[queue] = nil\n", "", "progress"),
]


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def copy_tree():
    COPY.mkdir(parents=True, exist_ok=True)
    # Modification times are kept, so that only what differs is compiled anew.
    run(["cp", "-a", "--update", "--no-target-directory", str(ROOT / "Package.swift"), str(COPY / "Package.swift")], check=True)
    for name in ("Package.resolved", "Sources", "Tests", "Benchmarks", "web-client"):
        source = ROOT / name
        if not source.exists():
            continue
        if source.is_dir():
            shutil.rmtree(COPY / name, ignore_errors=True)
            shutil.copytree(source, COPY / name, symlinks=True)
        else:
            shutil.copy2(source, COPY / name)


def build():
    result = run(["swift", "build", "-c", "release", "--product", "simulate"], cwd=COPY)
    return "" if result.returncode == 0 else result.stdout[-2_000:]


def simulate(seconds, kinds):
    began = time.monotonic()
    result = run([str(COPY / ".build/release/simulate"), "--seconds", str(seconds), "--findings", "1", "--only", kinds], timeout=seconds * 4 + 120)
    return result.returncode, time.monotonic() - began, re.findall(r"^SEED .*$", result.stdout, re.M) or result.stdout[-500:].split("\n")


def attempt(name, file, old, new, kinds):
    path = COPY / file
    text = path.read_text()
    if text.count(old) != 1:
        return f"{name}: the code has changed; write this mutation anew ({file})"
    path.write_text(text.replace(old, new))
    try:
        if error := build():
            return f"{name}: does not compile\n{error}"
        status, seconds, found = simulate(SECONDS, kinds)
    finally:
        path.write_text(text)
    if status == 0:
        return f"{name}: not found in {seconds:.0f} s"
    print(f"{name}: found in {seconds:.1f} s: {found[0][:200]}", flush=True)
    return None


def main():
    wanted = set(sys.argv[1:])
    copy_tree()
    missed = [attempt(*mutation) for mutation in MUTATIONS if not wanted or mutation[0] in wanted]
    missed = [text for text in missed if text]
    for text in missed:
        print(text)
    sys.exit(1 if missed else 0)


main()
