"""Every threshold of Config/alerts.yml from both sides: a little below it the alert is silent, a little above it fires; and
where a threshold is moved by a twentieth, these tests notice."""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

CONFIG = f"{os.environ['PROJECT']}/Config"
INSTANCE = 'job="stanchion",instance="a"'
BELOW, ABOVE = 0.98, 1.02
# How far a threshold is moved to see whether the tests notice.
MOVES = (0.95, 1.05)


def gauge(name, *phases, labels=INSTANCE):
    """So many minutes each of a value."""
    return f"{name}{{{labels}}}", " ".join(f"{value!r}x{minutes - 1}" for minutes, value in phases)


def counter(name, *phases, labels=INSTANCE, step=1):
    """So many minutes each of growth by so much a minute; a sample every `step` minutes."""
    parts, total = [], 0.0
    for minutes, growth in phases:
        count = minutes // step
        parts.append(f"{total!r}+{growth * step!r}x{count - 1}")
        total += growth * minutes
    return f"{name}{{{labels}}}", " ".join(parts)


def requests(*phases, step=1):
    """Phases of minutes, requests a minute, and the share that fails."""
    name = "stanchion_http_requests_total"
    more = INSTANCE + ',route="none",method="any",class="{}xx"'
    return [counter(name, *((minutes, all_of_them * (1 - share)) for minutes, all_of_them, share in phases), labels=more.format(2), step=step),
            counter(name, *((minutes, all_of_them * share) for minutes, all_of_them, share in phases), labels=more.format(5), step=step)]


def buckets(name, share, target, low, high, labels=INSTANCE):
    """A histogram whose quantile of `share` is `target`, between the bounds `low` and `high`: a bound below them, they, and all."""
    def counts(target):
        # All are within `high`; so many within `low` that the rank lies where it should.
        place = (target - low) / (high - low)
        below = (share - place) / (1 - place)
        return below, 1.0
    phases = {}
    for minutes, goal in target:
        below, whole = counts(goal)
        for bound, part in ((low, below), (high, whole), ("+Inf", 1.0)):
            phases.setdefault(bound, []).append((minutes, 1e6 * part))
    return [counter(f"{name}_bucket", *grown, labels=f'{labels},le="{bound}"') for bound, grown in phases.items()]


def mean(name, *phases):
    return [counter(f"{name}_sum", *((minutes, 60 * value) for minutes, value in phases)), counter(f"{name}_count", *((minutes, 60) for minutes, _ in phases))]


class Case:
    """Series, and when the alert is silent or fires, in minutes."""

    def __init__(self, series, silent=(), fires=(), step=1):
        self.series, self.silent, self.fires, self.step = series, silent, fires, step


def steps(make, threshold, minutes=40):
    """Below the threshold for a while, then above it."""
    series = make((minutes, threshold * BELOW), (minutes, threshold * ABOVE))
    return [Case(series if isinstance(series, list) else [series], silent=[minutes - 1], fires=[2 * minutes - 1])]


def ratio(value, whole):
    return lambda *phases: [gauge(value, *((minutes, share * 1000) for minutes, share in phases)), gauge(whole, *((minutes, 1000) for minutes, _ in phases))]


def processor(*phases):
    return [counter("process_cpu_seconds_total", *((minutes, 60 * 2 * share) for minutes, share in phases)),
            gauge("stanchion_processors", *((minutes, 2) for minutes, _ in phases))]


def network(*phases):
    return [counter("stanchion_network_received_bytes_total", *((minutes, 60 * 250 * share) for minutes, share in phases), labels=INSTANCE + ',loop="0"'),
            counter("stanchion_network_sent_bytes_total", *((minutes, 60 * 500 * share) for minutes, share in phases), labels=INSTANCE + ',loop="0"'),
            counter("stanchion_network_sent_bytes_total", *((minutes, 60 * 250 * share) for minutes, share in phases), labels=INSTANCE + ',loop="1"'),
            gauge("stanchion_network_bytes_per_second", *((minutes, 1000) for minutes, _ in phases))]


def busy(cpu=0.4, events=0, asked=0.1, frames=0):
    """Processors in use, and events, requests and frames a second, each in phases or all the time."""
    def phases(value):
        return [(40, 60 * one) for one in value] if isinstance(value, tuple) else [(80, 60 * value)]
    return [counter("process_cpu_seconds_total", *phases(cpu)), counter("stanchion_events_total", *phases(events), labels=INSTANCE + ',type="joined"'),
            counter("stanchion_http_requests_total", *phases(asked), labels=INSTANCE + ',class="2xx"'), counter("stanchion_position_frames_total", *phases(frames))]


def burns(threshold, long, short, before, hold, step=1):
    """Both windows of a burn rate, each on both sides while the other is above. Much traffic without failures comes first, so
    that longer windows of other rules stay below."""
    def case(long_share, short_share, is_firing):
        last = short + hold
        first = (long_share * (long + hold) - short_share * last) / (long + hold - last) * threshold
        series = requests((before, 100_000, 0), (long + hold - last, 1_000, first), (last, 1_000, short_share * threshold), step=step)
        # Where rules are evaluated every ten minutes, at such a moment.
        end = before + long + hold - (1 if step == 1 else 10)
        return Case(series, fires=[end] if is_firing else [], silent=[] if is_firing else [end], step=step)
    return [case(BELOW, 1.06, False), case(ABOVE, 1.06, True), case(1.06, BELOW, False), case(1.06, ABOVE, True)]


CASES = {
    "StanchionErrorBudgetBurnsFast": burns(0.0144, 60, 5, 600, 3) + burns(0.006, 360, 30, 600, 3),
    "StanchionErrorBudgetBurnsSlowly": burns(0.003, 1440, 120, 2880, 90, step=2) + burns(0.001, 4320, 360, 100, 90, step=2),
    "StanchionResponsesSlow": steps(lambda *p: buckets("stanchion_http_request_duration_seconds", 0.95, p, 1.4, 1.6), 1.5),
    "StanchionResponsesVerySlow": steps(lambda *p: buckets("stanchion_http_request_duration_seconds", 0.95, p, 1.8, 2.2), 2),
    "StanchionErrors": steps(lambda *p: requests(*((minutes, 1000, share) for minutes, share in p)), 0.005),
    "StanchionManyErrors": steps(lambda *p: requests(*((minutes, 1000, share) for minutes, share in p)), 0.01),
    "StanchionProcessorBusy": steps(processor, 0.7),
    "StanchionProcessorFull": steps(processor, 0.8),
    "StanchionMemoryShort": steps(ratio("stanchion_memory_used_bytes", "stanchion_memory_limit_bytes"), 0.75),
    "StanchionMemoryFull": steps(ratio("stanchion_memory_used_bytes", "stanchion_memory_limit_bytes"), 0.85),
    "StanchionDiskShort": steps(lambda *p: gauge("stanchion_disk_used_ratio", *p), 0.85),
    "StanchionDiskFull": steps(lambda *p: gauge("stanchion_disk_used_ratio", *p), 0.95),
    "StanchionNetworkBusy": steps(network, 0.6),
    "StanchionNetworkFull": steps(network, 0.8),
    "StanchionStorePoolBusy": steps(lambda *p: gauge("stanchion_store_connections_peak_ratio", *p), 0.8),
    "StanchionStorePoolFull": steps(lambda *p: gauge("stanchion_store_connections_peak_ratio", *p), 0.95),
    "StanchionReleasesLate": steps(lambda *p: mean("stanchion_release_lag_seconds", *p), 15),
    "StanchionReleasesVeryLate": steps(lambda *p: mean("stanchion_release_lag_seconds", *p), 30),
    "StanchionInstanceDown": [Case([gauge("up", (10, 1), (10, 0))], silent=[9], fires=[15])],
    "StanchionStoreDown": [Case([gauge("stanchion_store_down", (10, 0), (10, 1), (10, 0))], silent=[9, 25], fires=[15])],
    "StanchionQueueStale": [Case([gauge("stanchion_queues_stale", (10, 0), (10, 1), (10, 0))], silent=[9, 25], fires=[15])],
    "StanchionBusDown": [Case([gauge("stanchion_bus_down", (10, 0), (10, 1), (10, 0))], silent=[9, 25], fires=[15])],
    "StanchionBusForged": [Case([counter("stanchion_bus_messages_refused_total", (30, 0), (1, 1), (30, 0), labels=INSTANCE + ',reason="forged"')],
                                silent=[29, 50], fires=[35])],
    "StanchionReplicaBehind": [Case([gauge("stanchion_replica_lag_events_max", (10, 0), (10, 1))], silent=[9], fires=[15])],
    "StanchionAdmissionsLate": steps(lambda *p: buckets("stanchion_admission_delay_seconds", 0.99, p, 0.9, 1.1), 1),
    "StanchionLoopStarved": steps(lambda *p: gauge("stanchion_loop_turn_max_seconds", *p), 0.25),
    "StanchionStorePoolExhausted": steps(lambda *p: gauge("stanchion_store_wait_max_seconds", *p), 1),
    "StanchionDeadlocks": steps(lambda *p: counter("stanchion_store_deadlocks_total", *((minutes, count / 10) for minutes, count in p)), 3),
    "StanchionDescriptorsShort": steps(ratio("process_open_fds", "process_max_fds"), 0.85),
    "StanchionVisitorsRefused": [Case([counter("stanchion_refused_total", (30, 0), (30, 1), labels=INSTANCE + ',reason="memory"'),
                                       counter("stanchion_refused_total", (60, 9), labels=INSTANCE + ',reason="joins"')], silent=[29], fires=[45])],
    "StanchionIdleTicks": [Case([counter("stanchion_idle_ticks_total", (30, 0), (1, 1), (30, 0))], silent=[29, 50], fires=[35])],
    "StanchionBusyForNothing": [
        Case(busy(cpu=(0.2 * BELOW, 0.2 * ABOVE)), silent=[39], fires=[79]), Case(busy(events=(0.01, 0)), silent=[39], fires=[79]),
        Case(busy(asked=(ABOVE, BELOW)), silent=[39], fires=[79]), Case(busy(frames=(ABOVE, BELOW)), silent=[39], fires=[79])],
}


def is_right(alert, rules):
    """Whether the alert of these rules does in all of its cases what it should."""
    text = ["rule_files: [rules.yml]", f"evaluation_interval: {'10m' if alert.endswith('Slowly') else '1m'}",
            "group_eval_order: [stanchion-availability-ratios, tried]", "tests:"]
    for case in CASES[alert]:
        text += [f"  - interval: {case.step}m", "    input_series:"]
        text += [f"      - {{series: '{series}', values: '{values}'}}" for series, values in case.series]
        text.append("    promql_expr_test:")
        expression = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        text += [f"      - {{expr: '{expression}', eval_time: {minute}m, exp_samples: []}}" for minute in case.silent]
        text += [f"      - {{expr: '{expression}', eval_time: {minute}m, exp_samples: [{{labels: '{{}}', value: 1}}]}}" for minute in case.fires]
    with tempfile.TemporaryDirectory(prefix="stanchion-") as folder:
        for name, content in (("rules.yml", rules), ("test.yml", "\n".join(text))):
            with open(f"{folder}/{name}", "w") as file:
                file.write(content)
        result = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True)
    said = result.stdout + result.stderr
    assert result.returncode == 0 or "FAILED" in said and "exp:" in said, said
    return result.returncode == 0, said


with open(f"{CONFIG}/alerts.yml") as file:
    whole = file.read()
# Those rules alone that record something for an alert, and it.
ratios = whole[:whole.index("  # How fast the month's budget")]
rules = {re.match(r"- alert: (\w+)", rule)[1]: rule for rule in re.findall(r"- alert: .*?(?=\n *- alert|\n\n|\n *#|\Z)", whole, re.S)}
assert rules.keys() == CASES.keys(), rules.keys() ^ CASES.keys()


def with_rule(rule):
    needs = ratios if "ratio_rate" in rule else "groups:\n  - {name: stanchion-availability-ratios, rules: []}\n"
    return f"{needs}  - name: tried\n    rules:\n      {rule}\n"


def moved(rule):
    """The rule with each of its thresholds moved, in turn, both ways."""
    for found in re.finditer(r"(?:>|<|==) ([0-9.]+)", rule):
        if float(found[1]) == 0 or rule.find("labels:") < found.start():
            continue
        for by in MOVES:
            yield f"{found[0]} × {by}", rule[:found.start(1)] + repr(float(found[1]) * by) + rule[found.end(1):]


tasks = [(alert, "as it is", rule, True) for alert, rule in rules.items()]
tasks += [(alert, what, changed, False) for alert, rule in rules.items() for what, changed in moved(rule)]
wrong = []
with ThreadPoolExecutor(os.cpu_count()) as pool:
    answers = pool.map(lambda task: is_right(task[0], with_rule(task[2])), tasks)
    for (alert, what, _, expected), (right, said) in zip(tasks, answers):
        if right != expected:
            wrong.append(f"{alert}, {what}: {'is not noticed' if right else said}")
print(f"{len(rules)} alerts, {len(tasks) - len(rules)} thresholds moved")
if wrong:
    sys.exit("\n".join(wrong))
