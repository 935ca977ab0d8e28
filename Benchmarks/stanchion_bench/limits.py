"""Limits as data: what a figure must be, whether it is, and whether it is worse than what was recorded."""

import re

NUMBER = r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?"
# Compared with what was recorded last, whatever the spread.
LEAST_OF_RECORDED = {"durable joins a second, 64 connections": 0.97, "durable joins a second on Postgres, 4,096 connections": 0.97}
# Two runs of one program on one machine differ by this much even where each repeats itself.
NOISE = 0.03


def number(text):
    """The first number of a text: `1,050 ms`, `1/12.3`, `0.98`, `2.31 million`. None where there is none."""
    found = re.search(rf"({NUMBER})(?:\s*/\s*({NUMBER}))?", str(text))
    if not found:
        return None
    value, by = (float(part.replace(",", "")) if part else 1.0 for part in found.groups())
    return value / by


class Limit:
    """`≤ 1.05`, `≥ 5,000`, `0.85–1.15`, `0`, `all within` (none of those that were looked at is outside), or nothing."""

    def __init__(self, must):
        self.must = must
        self.low, self.high = float("-inf"), float("inf")
        if not must:
            return
        if must == "all within":
            self.high = 0
        elif must[0] == "≤":
            self.high = number(must)
        elif must[0] == "≥":
            self.low = number(must)
        elif "–" in must:
            self.low, self.high = (number(part) for part in must.split("–"))
        elif number(must) is not None:
            self.low = self.high = number(must)
        else:
            raise ValueError(f"{must!r} is no limit")

    @property
    def direction(self):
        """1 where more is better, -1 where less is, 0 where neither."""
        if not self.must or "–" in self.must:
            return 0
        return 1 if self.must[0] == "≥" else -1

    def allows(self, value):
        return value is not None and self.low <= value <= self.high


def measured(row):
    """What is compared: the ratio where there is one, else the figure."""
    return number(row["ratio"]) if row.get("ratio") else number(row["figure"])


def spread_of(row):
    """How far apart the highest and the lowest were, as a part of their middle; 0 where it is not known."""
    parts = re.match(rf"({NUMBER})–({NUMBER})$", str(row.get("spread", "")))
    if not parts:
        return 0.0
    low, high = (float(part.replace(",", "")) for part in parts.groups())
    return (high - low) / ((high + low) / 2) if high + low > 0 else 0.0


def faults(name, row, recorded):
    """What is wrong with a row, in words, none where nothing is."""
    limit, value = Limit(row["must"]), measured(row)
    found = []
    if row["must"] and not limit.allows(value):
        found.append(f"{name}: {row['ratio'] or row['figure']}, and must be {row['must']}")
    then = measured(recorded) if recorded else None
    if value is None or not then:
        return found
    if name in LEAST_OF_RECORDED:
        now, before = number(row["figure"]), number(recorded["figure"])
        if now < LEAST_OF_RECORDED[name] * before:
            found.append(f"{name}: {now:.0f} of {before:.0f} that were recorded, and must be {LEAST_OF_RECORDED[name]:.0%} of it")
    elif limit.direction:
        worse = -limit.direction * (value / then - 1)
        allowed = max(NOISE, spread_of(row), spread_of(recorded))
        if worse > allowed:
            found.append(f"{name}: {worse:.0%} worse than recorded ({recorded.get('ratio') or recorded['figure']}), more than its spread of {allowed:.0%}")
    return found
