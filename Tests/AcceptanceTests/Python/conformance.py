"""A short selection of the Autobahn cases over ws:// and wss://; `make conformance` runs them all."""

import os
import subprocess

from harness import PROGRAM, PROJECT

CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "9.3.9", "9.4.9", "10.*", "12.1.[1-3]", "12.3.1", "13.*.1"]

run = subprocess.run(
    [f"{PROJECT}/Tests/Conformance/run", "--messages", "10", *[part for case in CASES for part in ("--cases", case)]],
    env={**os.environ, "STANCHION": PROGRAM}, text=True, capture_output=True, timeout=300)
print(run.stdout[-3000:], run.stderr[-2000:])
assert run.returncode == 0 and run.stdout.count(" passed, 0 failed") == 2
