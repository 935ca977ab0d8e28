"""The power is cut, with people joining: what was acknowledged is on the disk, and not only on its way there."""

import os
import shutil
import tempfile
import time

from examining import again_and_again
from harness import Server, check_log, rng
from preload import preload

# Of each file, what it held when somebody last waited for the disk, and of each folder, what was in it: that is what a
# cut leaves at the least.
KEEPS = """
    static void forget(const char *folder, const char *safe) {
        DIR *all = opendir(safe);
        for (struct dirent *one; (one = readdir(all));) {
            char there[2048], here[2048];
            snprintf(there, sizeof there, "%s/%s", folder, one->d_name);
            snprintf(here, sizeof here, "%s/%s", safe, one->d_name);
            if (access(there, F_OK) != 0) unlink(here);
        }
        closedir(all);
    }
    static void keep(int file) {
        char link[64], path[1024], safe[2048], hidden[2064], bytes[1 << 16];
        struct stat status;
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length <= 0 || fstat(file, &status) != 0) abort();
        path[length] = 0;
        if (S_ISDIR(status.st_mode)) return forget(path, getenv("SAFE"));
        snprintf(safe, sizeof safe, "%s%s", getenv("SAFE"), strrchr(path, '/'));
        snprintf(hidden, sizeof hidden, "%s.new", safe);
        int copy = open(hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        off_t at = 0;
        // By this descriptor: to close another one would give up the locks that the process has on the file.
        for (ssize_t count; (count = pread(file, bytes, sizeof bytes, at)) > 0; at += count)
            if (write(copy, bytes, count) != count) abort();
        close(copy);
        rename(hidden, safe);
    }
    int fsync(int file) { int done = SYSTEM(fsync)(file); keep(file); return done; }
    int fdatasync(int file) { int done = SYSTEM(fdatasync)(file); keep(file); return done; }
    """

CUTS = 4

with tempfile.TemporaryDirectory() as folder:
    library, acknowledged, queue = preload(folder, KEEPS), set(), None
    for number in range(CUTS + 1):
        home, safe = f"{folder}/{number}", f"{folder}/{number + 1}"
        os.makedirs(home, exist_ok=True)
        os.makedirs(safe)
        # What is there from before the last cut was written then.
        for file in os.listdir(home):
            shutil.copy(f"{home}/{file}", safe)
        with Server(prefix=["env", f"LD_PRELOAD={library}", f"SAFE={safe}"], folder=home) as server:
            queue = queue or server.queue()["id"]
            found = check_log(server.events(queue)).keys() if acknowledged else set()
            assert acknowledged <= found, f"{len(acknowledged - found)} of {len(acknowledged)} acknowledged joins are lost"
            if number == CUTS:
                break

            def join():
                try:
                    acknowledged.add(server.good("POST", f"/v1/queues/{queue}/join", {})["session"])
                except OSError:
                    time.sleep(0.01)

            with again_and_again(*8 * [join]):
                time.sleep(rng.uniform(0.5, 2))
                server.kill()
    assert len(acknowledged) > 300, len(acknowledged)
