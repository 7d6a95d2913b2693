"""Compare two states of the package on one machine, case by case, in turn.

python benchmarks/compare.py main                  main against the working tree
python benchmarks/compare.py v0.1.0 HEAD fh_reml_100 --rounds 5

Each commit is checked out into a temporary git worktree. The cases are those of this checkout, so both sides
run the same work; a case that the older side cannot run yet is reported and skipped. Where a change has moved
modules use --own-cases: each side then runs its own file of the same cases.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measured(tree: Path, case: str, folder: Path, cases: Path) -> dict:
    """Run one case of the checkout `cases` on the package of `tree` and return its row."""
    out = folder / "row.json"
    out.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, str(cases / "benchmarks" / "run.py"), case, "--json", str(out)],
        env={**os.environ, "PYTHONPATH": str(tree)},  # stands before any installed copy
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    row = json.loads(out.read_text(encoding="utf-8"))["cases"][0] if out.exists() else {"failed": 1}
    if "failed" not in row and not Path(row["package"]).is_relative_to(tree):
        raise SystemExit(f"{case} timed the package at {row['package']}, not the one of {tree}")
    return row


def compare(
    base: Path, head: Path, cases: list[str], rounds: int, folder: Path, own_cases: bool = False
) -> int:
    """Print one line per case; return how many the head cannot run."""
    print(f"{'case':<24}{'base cpu s':>12}{'head cpu s':>12}{'head/base':>11}{'spread':>16}")
    broken = 0
    for case in cases:
        pairs = [
            tuple(measured(side, case, folder, side if own_cases else ROOT) for side in (base, head))
            for _ in range(rounds)
        ]
        sides = ["base", "head"]
        failed = [side for k, side in enumerate(sides) if any("failed" in pair[k] for pair in pairs)]
        if failed:
            print(f"{case:<24}does not run on {' and '.join(failed)}")
            broken += "head" in failed
            continue
        ratios = sorted(head_row["cpu_s"] / base_row["cpu_s"] for base_row, head_row in pairs)
        times = [statistics.median(pair[k]["cpu_s"] for pair in pairs) for k in (0, 1)]
        print(
            f"{case:<24}{times[0]:>12.4f}{times[1]:>12.4f}{statistics.median(ratios):>11.3f}"
            f"{ratios[0]:>8.2f} –{ratios[-1]:>6.2f}",
            flush=True,
        )
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="a commit")
    parser.add_argument("head", nargs="?", help="a commit; left out: the working tree")
    parser.add_argument("cases", nargs="*", help="names of cases; none means all")
    parser.add_argument("--rounds", type=int, default=3, help="times each side is run, in turn")
    parser.add_argument("--own-cases", action="store_true", help="each side runs its own file of cases")
    given = parser.parse_args()

    listed = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = listed.stdout.split()
    if given.head in names:  # "compare.py main fh_reml_100": the second word is a case, not a commit
        given.cases, given.head = [given.head, *given.cases], None
    with tempfile.TemporaryDirectory(prefix="sae-compare-") as temporary:
        folder = Path(temporary)
        trees = {"base": given.base} | ({"head": given.head} if given.head else {})
        git = ["git", "-C", str(ROOT), "worktree"]
        try:
            for side, commit in trees.items():
                subprocess.run([*git, "add", "--quiet", "--detach", str(folder / side), commit], check=True)
            head = folder / "head" if given.head else ROOT
            cases = given.cases or names
            broken = compare(folder / "base", head, cases, given.rounds, folder, given.own_cases)
            return 1 if broken else 0
        finally:
            for side in trees:
                if (folder / side).exists():
                    subprocess.run([*git, "remove", "--force", str(folder / side)], check=True)


if __name__ == "__main__":
    sys.exit(main())
