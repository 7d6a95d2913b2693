"""Kill runs of a small production at random moments, let them go on, and count results that differ.

    python -m tests.batch.production.kills FOLDER KILLS SEED [WORKERS]

FOLDER has table.toml, persons.csv, later.csv and areas.csv. Prints JSON: kills by signal, results that ended,
those that differ from an undisturbed run, and what is left in their folders. Each run is a fork of a process
that has loaded the libraries, so that the kills fall into the run. Not for Windows.
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

from sae.batch.production.engine import Engine
from sae.batch.production.runner import run_production
from sae.batch.production.spec import read_production

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def results(folder):
    """Every file of a folder of results, by name, with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def run(folder, out, workers):
    def end(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        run_production(
            read_production(folder / "table.toml"),
            surveys=[f"lfs={folder / name}" for name in ("persons.csv", "later.csv")],
            areas=folder / "areas.csv",
            out=out,
            engine=Engine(workers=workers),
        )
    except KeyboardInterrupt:
        return 130
    return 0


def started(folder, out, workers):
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        code = run(folder, out, workers)
    finally:
        os._exit(code)


def main(folder, kills, seed, workers=1):
    folder, rng, counts = Path(folder), random.Random(seed), Counter()
    assert run(folder, folder / "first", workers) == 0  # what is compiled and loaded once
    start = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(started(folder, folder / "whole", workers), 0)[1]) == 0
    length = time.monotonic() - start
    whole, out = results(folder / "whole"), folder / "killed"
    while counts["kills"] < kills:
        child, number = started(folder, out, workers), rng.choice(SIGNALS)
        time.sleep(rng.uniform(0, 0.8 * length))
        os.kill(child, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        counts["unexpected"] += code not in (0, 130, *(-one for one in SIGNALS))
        if code:
            counts["kills"] += 1
            counts[number.name] += 1
            continue
        counts["ended"] += 1
        counts["differing"] += results(out) != whole
        counts["left"] += sum(path.name not in whole for path in out.iterdir())
        shutil.rmtree(out)
    assert run(folder, out, workers) == 0
    counts["ended"] += 1
    counts["differing"] += results(out) != whole
    counts["left"] += sum(path.name not in whole for path in out.iterdir())
    print(json.dumps({**counts, "seconds of a run": round(length, 2)}))


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
