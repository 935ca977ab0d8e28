"""The limits of Benchmarks/run: each `must` that it has can be read, what misses one is found, and so is what is worse than
recorded by more than its spread."""

import os
import re
import sys

BENCHMARKS = f"{os.environ['PROJECT']}/Benchmarks"
sys.path.insert(0, BENCHMARKS)
sys.dont_write_bytecode = True
from stanchion_bench.limits import Limit, faults, number  # noqa: E402

assert [number(text) for text in ["1,050 ms", "1/12.5", "0.98", "2.31 million", "none"]] == [1050, 0.08, 0.98, 2.31, None]

for must, good, bad in [("≤ 1.05", 1.05, 1.06), ("≥ 5,000", 5_000, 4_999), ("0.85–1.15", 1.15, 1.16), ("0.85–1.15", 0.85, 0.84), ("0", 0, 1),
                        ("all within", 0, 1), ("≤ 1/10", 0.09, 0.11), ("≤ 50 ms", 50, 50.1)]:
    assert Limit(must).allows(good) and not Limit(must).allows(bad) and not Limit(must).allows(None), must

# All that the benchmarks say.
for name in ["run", "stanchion_bench/scale.py"]:
    with open(f"{BENCHMARKS}/{name}") as file:
        text = file.read()
    musts = re.findall(r'"((?:≤|≥)[^"{]*|all within|\d[\d.]*–\d[\d.]*)"', text)
    assert len(musts) > 5
    for must in musts:
        Limit(must)


def row(figure, must, ratio="", spread=""):
    return {"figure": figure, "must": must, "ratio": ratio, "spread": spread}


assert not faults("a", row("100 ms", "≤ 120 ms"), None)
assert faults("a", row("130 ms", "≤ 120 ms"), None)
assert faults("a", row("-", "≤ 120 ms"), None), "what was not measured is not met"
assert faults("a", row("5", "≤ 1.05", ratio="1.06"), None) and not faults("a", row("5", "≤ 1.05", ratio="1.04"), None)
# 10 % worse is too much for what repeats itself, and not for what varies by 20 %.
assert faults("a", row("110 ms", "≤ 120 ms", spread="109–111"), row("100 ms", ""))
assert not faults("a", row("110 ms", "≤ 120 ms", spread="100–122"), row("100 ms", ""))
assert not faults("a", row("110 ms", "≤ 120 ms", spread="109–111"), row("100 ms", "", spread="90–110"))
assert not faults("a", row("90 ms", "≤ 120 ms"), row("100 ms", "")) and faults("a", row("90", "≥ 50"), row("100", ""))
joins = "durable joins a second, 64 connections"
assert faults(joins, row("9600", "≥ 5,000", spread="5000–15000"), row("10000", "")) and not faults(joins, row("9800", "≥ 5,000"), row("10000", ""))
