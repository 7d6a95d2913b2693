"""Kill runs of toy items at random moments, let them go on, and count what differs from an undisturbed run.

    python -m tests.batch.work.kills FOLDER WORKERS KILLS SEED

prints JSON: kills by signal and victim, runs that ended, stores that differ, processes and folders that are
left. With WORKERS 0 it is this process alone. Linux only: it looks for processes in /proc.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from sae.batch.work import Processes, Serial, Store, executed
from sae.errors import SaeError
from tests.batch.work.jobs import tree

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
GONE = 20.0  # seconds for the workers of a killed run to end


def parts(folder):
    """Every file of the finished outputs, by name, with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "parts").rglob("*") if p.is_file()}


def run(folder, workers):
    def end(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        with Processes(workers) if workers else Serial() as executor:
            outputs = executed(tree(16, seconds=0.02 if workers else 0.0), Store(folder), executor)
            assert outputs["all"].facts["of"] == sorted(f"pair {k}" for k in range(8))
    except KeyboardInterrupt:
        return 130
    except SaeError as error:
        return 3 if "The worker on" in str(error) and "SIGKILL" in str(error) else 4
    return 0


def started(folder, workers):
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setpgid(0, 0)
        code = run(folder, workers)
    finally:
        sys.stdout.flush()
        os._exit(code)


def children(pid):
    try:
        return [int(k) for k in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def damage(folder, rng):
    """Cut a file of a part, change a byte in it, or remove it."""
    files = sorted(p for p in (folder / "parts").rglob("*") if p.is_file())
    if not files:
        return ""
    path, how = rng.choice(files), rng.choice(("cut", "changed", "removed"))
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    return how


def main(folder, workers, kills, seed):
    rng, counts = random.Random(seed), Counter()
    folder = Path(folder)
    start = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(started(folder / "whole", workers), 0)[1]) == 0
    length = time.monotonic() - start
    whole, place = parts(folder / "whole"), folder / "killed"
    while counts["kills"] < kills:
        child = started(place, workers)
        moment = time.monotonic() + rng.uniform(0, 0.9 * length)
        while time.monotonic() < moment and alive(child):
            time.sleep(min(0.01, max(0.0, moment - time.monotonic())))
        family = children(child)
        grown = [*family, *(k for one in family for k in children(one))]
        victim, number = child, rng.choice(SIGNALS)
        if family and rng.random() < 0.3:
            victim, number = rng.choice(family), signal.SIGKILL
        try:
            if rng.random() < 0.3 and victim == child:
                victim = -child  # all processes of the run, as a terminal or a batch system does
            os.kill(victim, number)
        except ProcessLookupError:
            victim = 0
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        counts["unexpected"] += code not in (0, 130, 3, -9, -15, -2)
        end = time.monotonic() + GONE
        while any(map(alive, grown)) and time.monotonic() < end:
            time.sleep(0.01)
        counts["left"] += sum(map(alive, grown))
        if code != 0:
            counts["kills"] += 1
            whom = {child: "run", -child: "all"}.get(victim, "worker")
            counts[f"{whom} {number.name}"] += 1
            if rng.random() < 0.2:
                counts[f"damage {damage(place, rng)}"] += 1
            continue
        counts["ended"] += 1
        counts["differing"] += parts(place) != whole
        shutil.rmtree(place)
    assert run(place, 0) == 0  # what is left goes on, in one process
    counts["ended"] += 1
    counts["differing"] += parts(place) != whole
    store = Store(place)  # which cleans
    counts["leftovers"] = len(list(store.folder.glob("writing-*"))) - 1  # its own
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:5]))
