"""`stanchion doctor`, as the scripts ask it, and what they make servers and databases sick with."""

import json
import os
import subprocess
import threading
from contextlib import contextmanager

from harness import PROGRAM, clean_environment
from preload import preload


def doctor(*flags, seconds=1.5):
    """The findings by their ids."""
    result = subprocess.run([PROGRAM, "doctor", "--json", "--seconds", str(seconds), *flags], capture_output=True, text=True, timeout=60,
                            env=clean_environment())
    assert result.returncode in (0, 1), result
    findings = {one["id"]: one for one in json.loads(result.stdout)["diagnoses"]}
    assert (result.returncode == 1) == any(one["severity"] == "critical" for one in findings.values()), result
    return findings


@contextmanager
def again_and_again(*works):
    """Each of `works` is done over and over, in a thread of its own, until the block ends."""
    is_over, problems = threading.Event(), []

    def run(work):
        while not is_over.is_set() and not problems:
            try:
                work()
            except BaseException as problem:
                problems.append(problem)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]


class SlowDisk:
    """A library that makes fsync take as long as is written into a file: `prefix` for whoever shall have that disk."""

    PROGRAM = """
        static void wait(void) {
            char text[16] = "";
            int file = open(getenv("SLOW_DISK"), O_RDONLY | O_CLOEXEC);
            if (file >= 0 && read(file, text, 15) > 0) usleep(atoi(text));
            close(file);
        }
        int fsync(int file) { wait(); return SYSTEM(fsync)(file); }
        int fdatasync(int file) { wait(); return SYSTEM(fdatasync)(file); }
        """

    def __init__(self, folder):
        self.library, self.delay = preload(folder, SlowDisk.PROGRAM), f"{folder}/delay"
        self.takes(0)

    def takes(self, seconds):
        with open(f"{self.delay}.new", "w") as file:
            file.write(str(int(seconds * 1e6)))
        os.rename(f"{self.delay}.new", self.delay)

    @property
    def environment(self):
        return {"LD_PRELOAD": self.library, "SLOW_DISK": self.delay}

    @property
    def prefix(self):
        return ["env", *(f"{name}={value}" for name, value in self.environment.items())]
