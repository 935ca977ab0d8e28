"""What must be true of a queue's history, whatever has happened to those who made it.

Each rule takes what was seen and raises `Broken` with what is wrong. They know nothing of servers, so they can be tried
on histories that were broken by hand (`test_checker.py`).
"""

import math
from datetime import UTC, datetime


class Broken(AssertionError):
    pass


def demand(condition, *what):
    if not condition:
        raise Broken(" ".join(str(one) for one in what))


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def tickets(event):
    return {place["ticket"] + n for place in event["tickets"] for n in range(place["count"])}


class Line:
    """A line as its log makes it, one event after the other; refuses an event that breaks a rule.

    One lane: order of admission is order of tickets among those who are there.
    """

    ENDS = ("completed", "left", "expired")

    def __init__(self):
        self.seq, self.at, self.status = 0, 0.0, None
        self.rates, self.cap = [], None
        self.next = 1
        self.waiting, self.absent, self.admitted = {}, set(), {}
        self.ended, self.sessions, self.users = {}, {}, {}
        self.releases = []
        # Since when somebody could be let in, and for how long that was so at most and nobody was, until when.
        self.ready, self.stood_still, self.stood_until = None, 0.0, 0.0
        # Whom the line waits for after a loss, and until when; until when that holds up the first who is there.
        self.settling, self.settle_seconds, self.held_until = {}, 15, 0.0
        # Who was there when nobody was in sight last, and has not come back.
        self.unseen = set()

    def take(self, event):
        demand(event["seq"] == self.seq + 1, f"after {self.seq} comes {event['seq']}")
        at = seconds(event["at"])
        demand(at >= self.at, f"time runs backwards at {event['seq']}")
        self.measure(at)
        self.seq, self.at = event["seq"], at
        # Nobody could come back while no instance was there.
        if event["type"] != "everyone_disconnected" and self.settling:
            self.settling = {ticket: until for ticket, until in self.settling.items() if until > at}
        getattr(self, "on_" + event["type"])(event)
        can = self.status == "open" and len(self.admitted) < self.cap and len(self.waiting) > len(self.absent)
        if not can or event["type"] == "admitted":
            self.ready = None
        held, self.held_until = self.held_until, self.waits_until() if can and self.settling else 0.0
        if can and self.ready is None:
            self.ready = at
        elif can and self.held_until <= at:
            self.ready = max(self.ready, min(held, at))

    def waits_until(self):
        first = min(ticket for ticket in self.waiting if ticket not in self.absent)
        return max((until for ticket, until in self.settling.items() if ticket < first), default=0.0)

    def measure(self, at):
        rate = self.rates[-1][1] if self.rates else 0
        if self.ready is None or not rate:
            return
        # Where a minute's worth has been let in, the next one's time comes when the first of them is a minute ago.
        free = self.releases[-rate] + 60 if len(self.releases) >= rate else 0
        stood = at - max(self.ready, self.held_until, free) - 60 / rate
        if stood > self.stood_still:
            self.stood_still, self.stood_until = stood, at

    def on_configured(self, event):
        self.cap = event["maxConcurrentUsers"]
        self.settle_seconds = event.get("settleSeconds", self.settle_seconds)
        self.rates.append((self.at, event["releaseRatePerMinute"]))

    def on_opened(self, _):
        self.status = "open"

    on_resumed = on_opened

    def on_paused(self, _):
        self.status = "paused"

    def on_announced(self, _):
        pass

    def on_joined(self, event):
        ticket, session = event["ticket"], event["session"]
        demand(ticket == self.next, f"ticket {ticket} comes after {self.next - 1}")
        demand(session not in self.sessions, f"session {session} joins twice")
        self.next += 1
        self.sessions[session] = ticket
        self.waiting[ticket] = session
        if user := event.get("user"):
            demand(user not in self.users, f"{user} has two places")
            self.users[user] = ticket

    def on_connected(self, event):
        for ticket in tickets(event):
            self.absent.discard(ticket)
            self.unseen.discard(ticket)
            self.settling.pop(ticket, None)

    def on_disconnected(self, event):
        gone = tickets(event) & self.waiting.keys()
        self.absent |= gone
        if "settlesUntil" in event:
            self.settling.update((ticket, seconds(event["settlesUntil"])) for ticket in gone)

    def on_everyone_disconnected(self, _):
        until = max([self.at + self.settle_seconds, *self.settling.values()])
        self.unseen |= self.waiting.keys() - self.absent
        self.settling = dict.fromkeys(self.unseen | self.settling.keys(), until)
        self.absent = set(self.waiting)

    def on_admitted(self, event):
        ticket = event["ticket"]
        demand(ticket in self.waiting, f"{ticket} is let in and does not wait")
        demand(ticket not in self.absent, f"{ticket} is let in and is not there")
        first = min(other for other in self.waiting if other not in self.absent)
        demand(ticket == first, f"{ticket} is let in before {first}")
        # Times are told in milliseconds.
        ahead = [other for other, until in self.settling.items() if other < ticket and until > self.at + 0.002]
        demand(not ahead, f"{ticket} is let in before {ahead[:1]}, for whom the line waits")
        demand(self.status == "open", f"{ticket} is let in while the queue is {self.status}")
        self.admitted[ticket] = self.waiting.pop(ticket)
        demand(len(self.admitted) <= self.cap, f"{len(self.admitted)} are let in, and {self.cap} may be")
        self.releases.append(self.at)
        window = [moment for moment in self.releases if moment > self.at - 59.998]
        self.releases = window
        most = max(rate for number, (_, rate) in enumerate(self.rates)
                   if number == len(self.rates) - 1 or self.rates[number + 1][0] >= self.at - 60)
        demand(len(window) <= most, f"{len(window)} are let in within a minute, and {most} may be")

    def end(self, event):
        ticket = event["ticket"]
        demand(ticket in self.waiting or ticket in self.admitted, f"{ticket} ends twice, or was never here")
        demand(event["type"] != "completed" or ticket in self.admitted, f"{ticket} is completed and was not let in")
        demand(event.get("reason") != "grace" or ticket in self.absent, f"{ticket} expires for absence, and is there")
        self.ended[ticket] = event["type"]
        self.waiting.pop(ticket, None)
        self.admitted.pop(ticket, None)
        self.absent.discard(ticket)
        self.unseen.discard(ticket)
        self.settling.pop(ticket, None)
        self.users = {user: place for user, place in self.users.items() if place != ticket}

    on_completed = on_left = on_expired = end


def goes_on(line, limit):
    """Nobody waited for a turn that nobody gave."""
    until = datetime.fromtimestamp(line.stood_until, UTC).time()
    demand(line.stood_still <= limit, f"for {line.stood_still:.1f} s, until {until}, nobody was let in, and somebody could have been")


class Stream:
    """An integrator's: what came, in the order in which it came, over all connections."""

    def __init__(self):
        self.events, self.epoch = [], None

    def take(self, event):
        demand(event["seq"] == len(self.events) + 1, f"an integrator is told of {event['seq']} after {len(self.events)}")
        demand(self.epoch in (None, event["epoch"]), "the epoch changes, and nobody was told")
        self.epoch = event["epoch"]
        self.events.append(event)


class Display:
    """What a visitor's page shows, over all of its connections, by docs/protocol.md, "The display model"."""

    def __init__(self):
        self.position = None
        self.is_connected = False

    def take(self, frame, now):
        """A position does not rise by itself, and neither does what is shown of it. Another instance may be a moment behind."""
        reason = frame.get("reason")
        demand(reason or not self.is_connected or frame["position"] <= self.position,
               f"a position rises from {self.position} to {frame['position']}")
        self.is_connected = True
        self.set(frame["position"], frame["rate"], frame["position"] if reason or self.position is None else self.exact(now), now)

    def hold(self, now):
        """The connection is lost: what is shown stands until there is word again."""
        self.is_connected = False
        if self.position is not None:
            shown = self.exact(now)
            self.set(shown, 0, shown, now)

    def set(self, position, rate, ceiling, now):
        self.position, self.rate, self.ceiling, self.told_at = position, rate, ceiling, now

    def predicted(self, now):
        return self.position - self.rate * (now - self.told_at)

    def exact(self, now):
        return max(1, min(self.ceiling, self.predicted(now)))

    def value(self, now):
        return math.floor(self.exact(now) + 0.5)

    def waits(self, now):
        """It stands, for a truth that was told and to which the line has still to come."""
        return self.value(now) < self.position and not 1 < self.predicted(now) < self.ceiling

    def describe(self, now):
        return (f"told {self.position}, falling {self.rate} a second, {now - self.told_at:.1f} s ago, showed {self.ceiling:.1f} then and "
                f"shows {self.value(now)}")


def nothing_lost(acknowledged, line):
    """Every join that was acknowledged is in the log, as the session that was told."""
    for session in acknowledged:
        demand(session in line.sessions, f"the join of {session} was acknowledged and is lost")


def told_of_their_end(told, line):
    """Whoever was told that their turn has come, or that it is over, is told what the log says."""
    for session, what in told.items():
        ticket = line.sessions.get(session)
        demand(ticket is not None, f"{session} was told of its end, and never joined")
        known = line.ended.get(ticket, "admitted" if ticket in line.admitted else "waiting")
        if what == "admitted":
            demand(known != "waiting", f"{session} was told that it is let in, and waits")
        else:
            demand(known == what, f"{session} was told that it has {what}, and is {known}")


def all_the_same(views):
    """Every instance says the same of the queue."""
    names = list(views)
    for name in names[1:]:
        demand(views[name] == views[names[0]], f"{names[0]} says {views[names[0]]}, and {name} {views[name]}")


def matches(view, line):
    """And what they say is what the log makes."""
    demand(view["seq"] == line.seq, f"an instance is at {view['seq']}, and the log at {line.seq}")
    demand(view["waiting"] == len(line.waiting), f"{view['waiting']} wait for an instance, {len(line.waiting)} by the log")
    demand(view["currentUsers"] == len(line.admitted), f"{view['currentUsers']} are let in for an instance, {len(line.admitted)} by the log")


#: What the line drains between two looks at a display, at most, in a place of 2,400 a minute; and it is looked at twice.
DRAINS = 2 * 4


def in_place(displays, line, now, bound=lambda position: 1 if position <= 100 else position // 100 + DRAINS, whose=str):
    """Whoever waits is shown a place that is true, but for what a display may be wrong by.

    What ran too low, under a server that was away, cannot be raised: it must wait for the truth. `whose` says of a
    session what there is to know, for whoever reads that it is wrong.
    """
    wrong = []
    for rank, ticket in enumerate(sorted(line.waiting), start=1):
        session = line.waiting[ticket]
        if (display := displays.get(session)) is None:
            continue
        error = display.value(now) - rank
        if error > bound(rank) + 1 or -error > bound(rank) + 1 and not (display.waits(now) and display.position >= rank):
            wrong.append(f"{whose(session)} ({display.describe(now)}) is {rank}")
    demand(not wrong, f"{len(wrong)} of {len(displays)} are in a wrong place: {'; '.join(wrong[:3])}")
