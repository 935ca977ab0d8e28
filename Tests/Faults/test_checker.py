"""The checker, on a history that is right and on what becomes of it when one thing is broken."""

import copy
import json
import os

from checker import Broken, Display, Line, Stream, all_the_same, goes_on, in_place, matches, nothing_lost, told_of_their_end


def at(second):
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"


def good():
    """Six join, one goes away and comes back, four are let in."""
    plain = [
        ("configured", 0, {"maxConcurrentUsers": 3, "releaseRatePerMinute": 3}), ("opened", 0, {}),
        *[("joined", 1, {"ticket": n, "session": f"s{n}", "user": f"u{n}"}) for n in range(1, 7)],
        ("disconnected", 2, {"tickets": [{"ticket": 1, "count": 2}]}), ("admitted", 3, {"ticket": 3}),
        ("connected", 4, {"tickets": [{"ticket": 1, "count": 1}]}), ("admitted", 20, {"ticket": 1}), ("paused", 21, {}),
        ("announced", 21, {}), ("resumed", 22, {}), ("completed", 23, {"ticket": 3}), ("admitted", 40, {"ticket": 4}),
        ("expired", 50, {"ticket": 2, "reason": "grace"}), ("left", 51, {"ticket": 6}), ("admitted", 64, {"ticket": 5}),
    ]
    return numbered(plain)


def restarted():
    """Of three the first does not come back after a restart, and is waited for; after a second one once more."""
    back = {"tickets": [{"ticket": 2, "count": 2}]}
    return numbered([
        ("configured", 0, {"maxConcurrentUsers": 3, "releaseRatePerMinute": 60, "settleSeconds": 15}), ("opened", 0, {}),
        *[("joined", 0, {"ticket": n, "session": f"s{n}"}) for n in range(1, 4)],
        ("everyone_disconnected", 0, {}), ("connected", 1, back), ("announced", 16, {}), ("admitted", 16, {"ticket": 2}),
        ("everyone_disconnected", 18, {}), ("connected", 19, back), ("announced", 34, {}), ("admitted", 35, {"ticket": 3}),
    ])


def numbered(plain):
    return [{"seq": index + 1, "epoch": 1, "type": kind, "at": at(second), **more} for index, (kind, second, more) in enumerate(plain)]


def line(events):
    made = Line()
    for event in events:
        made.take(event)
    return made


def renumber(events):
    return [{**event, "seq": index + 1} for index, event in enumerate(events)]


def find(events, kind, **more):
    return next(index for index, event in enumerate(events) if event["type"] == kind and all(event[key] == more[key] for key in more))


def without(events, kind, **more):
    rest = copy.deepcopy(events)
    del rest[find(rest, kind, **more)]
    return rest


def changed(events, kind, change, **more):
    other = copy.deepcopy(events)
    other[find(other, kind, **more)].update(change)
    return other


def inserted(events, before, event):
    other = copy.deepcopy(events)
    other.insert(find(other, *before[:1], **before[1]), event)
    return renumber(other)


def rejects(rule, *what):
    try:
        rule(*what)
    except Broken:
        return
    raise AssertionError(f"taken for right: {what}")


right = good()
whole = line(right)
extra = {"epoch": 1, "at": at(41)}
for broken in (
    without(right, "announced"),                                            # a gap
    right + [right[-1]],                                                    # a double
    changed(right, "admitted", {"at": at(1)}, ticket=3),                    # time runs backwards
    changed(right, "joined", {"session": "s1"}, ticket=2),                  # one session, two places
    changed(right, "joined", {"user": "u1"}, ticket=2),                     # one person, two places
    changed(right, "joined", {"ticket": 9}, ticket=2),                      # a ticket is left out
    renumber(without(right, "disconnected")),                               # not the first of those who are there
    changed(right, "disconnected", {"settlesUntil": at(10)}),               # ahead of somebody whom the line waits for
    renumber(without(right, "connected")),                                  # let in, and not there
    inserted(right, ("completed", {}), {"type": "admitted", "ticket": 3, **extra, "at": at(22)}),   # let in twice
    renumber(without(right, "resumed")),                                    # let in while paused
    renumber(without(right, "completed")),                                  # more than may be in at once
    changed(right, "admitted", {"at": at(62)}, ticket=5),                   # more than may be let in within a minute
    inserted(right, ("left", {}), {"type": "left", "ticket": 6, **extra, "at": at(51)}),            # ends twice
    changed(right, "expired", {"ticket": 6}),                               # expires for absence, and is there
    inserted(right, ("paused", {}), {"type": "completed", "ticket": 6, **extra, "at": at(20)}),     # completed, and was not let in
):
    rejects(line, broken)


goes_on(whole, 0)
rejects(goes_on, line(changed(right, "admitted", {"at": at(95)}, ticket=5)), 10)
# While the line waits for somebody it does not stand still, and afterwards it does.
goes_on(line(restarted()), 1)
rejects(goes_on, line(changed(restarted(), "admitted", {"at": at(40)}, ticket=3)), 3)
rejects(line, without(without(changed(restarted(), "admitted", {"at": at(30)}, ticket=3), "announced"), "announced"))


def stream(events):
    made = Stream()
    for event in events:
        made.take(event)


stream(right)
rejects(stream, without(right, "announced"))
rejects(stream, right + [right[-1]])
rejects(stream, changed(right, "announced", {"epoch": 2}))


def display(*frames):
    """Frames as (second, position, rate) and, where there is one, a reason; (second,) where the connection is lost."""
    made = Display()
    for now, *frame in frames:
        if not frame:
            made.hold(now)
            continue
        position, rate, *reason = frame
        made.take({"position": position, "rate": rate, **({"reason": reason[0]} if reason else {})}, now)
    return made


display((0, 3, 1), (1, 2, 1), (2, 5, 1, "priority_lane"))
rejects(display, (0, 3, 1), (1, 4, 1))
rejects(display, (0, 3, 1), (1,), (2, 4, 1), (3, 5, 1))
assert display((0, 9, 1), (2,)).value(60) == 7
assert display((0, 9, 1), (2,), (60, 9, 1)).value(60) == 7
assert display((0, 9, 1), (2,), (60, 9, 1, "restored")).value(60) == 9
vectors = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../Vectors/display.json")))
for vector in vectors:
    shown = Display()
    for step in vector["steps"]:
        if "position" in step:
            shown.take(step, step["at"] / 1000)
        assert shown.value(step["at"] / 1000) == step["shows"], (vector["name"], step)

nothing_lost({"s1", "s6"}, whole)
rejects(nothing_lost, {"s1", "s7"}, whole)
told_of_their_end({"s6": "left", "s1": "admitted", "s2": "expired", "s3": "completed"}, whole)
rejects(told_of_their_end, {"s6": "expired"}, whole)
rejects(told_of_their_end, {"s9": "admitted"}, whole)
rejects(told_of_their_end, {"s6": "admitted"}, line(right[:8]))
all_the_same({"a": {"seq": 1}, "b": {"seq": 1}})
rejects(all_the_same, {"a": {"seq": 1}, "b": {"seq": 2}})
view = {"seq": whole.seq, "waiting": len(whole.waiting), "currentUsers": len(whole.admitted)}
matches(view, whole)
for wrong in ("seq", "waiting", "currentUsers"):
    rejects(matches, {**view, wrong: view[wrong] + 1}, whole)
crowded = line(right[:8])
in_place({"s1": display((0, 1, 0)), "s6": display((0, 7, 1)), "gone": display((0, 9, 0))}, crowded, 0)
rejects(in_place, {"s1": display((0, 4, 0))}, crowded, 10)                                    # too high
rejects(in_place, {"s6": display((0, 1, 0))}, crowded, 10)                                    # too low, and told so
rejects(in_place, {"s6": display((0, 9, 1))}, crowded, 7)                                     # too low, and falls on
in_place({"s6": display((0, 9, 1), (7, 6, 1))}, crowded, 9)                                   # was stopped, and waits
rejects(in_place, {"s6": display((0, 9, 1), (7, 6, 1))}, crowded, 11.5)                       # and falls once more
in_place({"s6": display((0, 9, 1), (7, 6, 1), (11.5, 6, 0))}, crowded, 30)                    # stopped for good
rejects(in_place, {"s6": display((0, 9, 1), (7, 3, 0))}, crowded, 30)                         # stopped by what is not true
in_place({"s6": display((0, 9, 1), (7,), (9, 6, 0))}, crowded, 30)                            # waits since another connection
rejects(in_place, {"s6": display((0, 9, 1), (7,), (9, 3, 0))}, crowded, 30)                   # and was told what is not true
print("the checker rejects what it must")
