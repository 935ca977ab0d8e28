"""The README's tour, word for word."""

import re
import subprocess

from harness import KEY, PROJECT, Server, clean_environment

text = open(f"{PROJECT}/README.md").read()
tour = re.search(r"## A tour.*?```sh\n(.*?)```", text, re.S)[1]
assert len(tour.strip().splitlines()) == 10

with Server() as server:
    script = "set -euo pipefail\n" + tour.replace("http://127.0.0.1:8080", server.url)
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env={**clean_environment(), "KEY": KEY})
    output = result.stdout
    assert result.returncode == 0, output + result.stderr
    for expected in ('"status":"ok"', '"slug":"tickets"', '"position":1', '"text":"Doors open at eight."', '"admission":"ey', '"type":"admitted"'):
        assert expected in output, f"{expected} is not in {output}"
