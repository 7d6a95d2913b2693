"""Direct estimates of many records in one pass: ten indicators, 300 domains, 20,000 unsorted sampling units.

python benchmarks/blocks_at_scale.py                          10 million records, two processes
python benchmarks/blocks_at_scale.py 100_000_000 --folder persons-at-scale --workers 2

The records are generated into a folder of Parquet files (19 MB a million), which a later run with the same
folder reads again. The total of the employed is compared with the sum over the records as they were written.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PIECE = 5_000_000  # records of a file
TRUTH = ".employed.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("records", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the records lie or go; else a temporary folder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--step", choices=["generate", "measure"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "generate":
        generate(given.folder, given.records)
    elif given.step == "measure":
        measure(given.folder, given.records, given.workers)
    elif given.folder:
        steps(given.folder, given.records, given.workers)
    else:
        with tempfile.TemporaryDirectory() as folder:
            steps(Path(folder), given.records, given.workers)


def steps(folder: Path, n: int, workers: int) -> None:
    """Generate and measure in a process each, so that the memory of the one is not that of the other."""
    command = [sys.executable, __file__, str(n), "--folder", str(folder), "--workers", str(workers), "--step"]
    for step in ["measure"] if (folder / TRUTH).exists() else ["generate", "measure"]:
        subprocess.run([*command, step], check=True)


def measure(folder: Path, n: int, workers: int) -> None:
    from cases.direct_linear import indicators

    from sae.design_based import direct_from_blocks

    known = json.loads((folder / TRUTH).read_text())
    if known["records"] != n:
        raise SystemExit(f"{folder} holds {known['records']:,} records")
    start = time.perf_counter()
    table = direct_from_blocks(
        folder,
        indicators(),
        ["region", "birth"],
        weights="w",
        strata="stratum",
        psu="psu",
        workers=workers,
    )
    wall = time.perf_counter() - start
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = table.frame[table.frame["indicator"] == "employed"]
    difference = abs(rows["estimate"].sum() / known["employed"] - 1)
    assert difference < 1e-9, difference
    cpu = sum(one.ru_utime + one.ru_stime for one in (own, others))
    print(
        f"{n:,} records, {workers} processes: {wall:.1f} s, {n / wall / 1e6:.2f} million a second; "
        f"{cpu:.1f} s of CPU; peak {own.ru_maxrss / 1e6:.2f} GB and "
        f"{others.ru_maxrss / 1e6:.2f} GB in each process"
    )


def generate(folder: Path, n: int) -> None:
    """Write the records, and then their number and the weights of the employed."""
    from cases.direct_linear import records

    folder.mkdir(parents=True, exist_ok=True)
    employed = 0.0
    for k, first in enumerate(range(0, n, PIECE)):
        frame = records(min(PIECE, n - first), seed=k).frame
        employed += frame["w"].to_numpy()[(frame["labour_status"] == "employed").to_numpy()].sum()
        frame["region"] = ("R" + frame["region"].astype(str).str.zfill(3)).astype("category")
        frame.to_parquet(folder / f"persons_{k:03d}.parquet", row_group_size=500_000)
    (folder / TRUTH).write_text(json.dumps({"records": n, "employed": employed}))


if __name__ == "__main__":
    main()
