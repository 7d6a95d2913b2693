"""Time the cases of ``benchmarks/cases``, each in a fresh process with one BLAS thread.

python benchmarks/run.py                          every case
python benchmarks/run.py fh_reml_100 import_sae   some
python benchmarks/run.py --list
python benchmarks/run.py --json out.json --repeat 9
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import Case, measure

HERE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "scipy", "numba", "pandas", "pyarrow")


def discover() -> dict[str, Case]:
    """Return every case by name; a file that bears the name of another file's case is an error."""
    cases: dict[str, Case] = {}
    for path in sorted((HERE / "cases").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"cases.{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for case in module.CASES:
            if case.name in cases:
                raise SystemExit(f"{path.name}: a case named {case.name} exists already")
            cases[case.name] = case
    return cases


def environment(threads: int) -> dict[str, str]:
    """Return the variables of a measuring process: they must stand before numpy and numba load."""
    blas = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **blas, "NUMBA_NUM_THREADS": str(threads), "MPLBACKEND": "Agg"}


def in_fresh_process(case: Case, repeat: int | None) -> dict[str, Any]:
    """Measure one case in its own process, so that its peak memory and its threads are its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", case.name]
    if repeat:
        command += ["--repeat", str(repeat)]
    done = subprocess.run(command, env=environment(case.threads), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {"name": case.name, "failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """Return what a figure depends on: commit, processor, versions. No date: the commit has one."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain")),
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def line(row: dict[str, Any]) -> str:
    """Return one printed line of the result table."""
    if "failed" in row:
        return f"{row['name']:<24}failed with exit status {row['failed']}, see above"
    ratio = f"{row['ratio']:.3g}" if row["ratio"] is not None else "-"
    memory = f"{row['peak_rss_mb']:.0f}" if row["peak_rss_mb"] is not None else "-"
    per_second = f"{row['units_per_cpu_s']:.4g}" if row["units_per_cpu_s"] else "-"
    return (
        f"{row['name']:<24}{row['cpu_s']:>9.4f}{row['wall_s']:>9.4f}{per_second:>12} {row['unit']:<10}"
        f"{memory:>7}{ratio:>9}  {row['peer']}" + (f"  [{row['target']}]" if row["target"] else "")
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="names of cases; none means all")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--repeat", type=int, help="timed repeats instead of the case's own number")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()

    cases = discover()
    if asked.list:
        print("\n".join(cases))
        return 0
    if asked.one:
        package = importlib.util.find_spec("sae")  # which copy was timed
        row = measure(cases[asked.one], asked.repeat)
        print(json.dumps({**row, "package": package.origin if package else None}))
        return 0
    unknown = [name for name in asked.cases if name not in cases]
    if unknown:
        parser.error(f"unknown cases {', '.join(unknown)}; there are {', '.join(cases)}")

    print(
        f"{'case':<24}{'cpu s':>9}{'wall s':>9}{'per cpu s':>12} {'unit':<10}{'MB':>7}{'ratio':>9}"
        "  to (below 1: faster)"
    )
    rows = []
    for name in asked.cases or cases:
        rows.append(in_fresh_process(cases[name], asked.repeat))
        print(line(rows[-1]), flush=True)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**machine(), "cases": rows}, indent=1) + "\n"
        asked.json.write_text(text, encoding="utf-8", newline="\n")
    return 1 if any("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
