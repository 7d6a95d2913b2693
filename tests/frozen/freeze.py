"""Record what the public surface gives (``freeze.py --write FILE``), or compare it (``--compare FILE``).

A record is one gzipped JSON file: a header (commit, versions, processor) and, by case, entries such as
``estimates.mse``. Floats are stored by their shortest text that reads back as the same bits; a column of
more than `THIN` values by a digest of its bytes and evenly spaced values, which tell the size of a change.
"""

import argparse
import dataclasses
import gzip
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

FILE = HERE / "frozen.json.gz"
THIN, KEPT = 30, 20
DRAWS, SEED = 50, 1
PACKAGES = ("numpy", "scipy", "pandas", "numba", "llvmlite", "formulaic", "pymc", "pytensor")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")

# What names a version, a run or a place is no behaviour.
SKIPPED = {"run", "sae", "version", "versions", "fit"}
PUBLIC = {
    "Result": (
        "title",
        "estimates",
        "coefficients",
        "variance_components",
        "diagnostics",
        "residuals",
        "effect_covariance",
        "correlations",
        "provenance",
    ),
    "DirectEstimates": ("frame", "log", "provenance", "covariance"),
    "Allocation": ("frame", "targets", "method", "certificate", "provenance"),
    "OversamplePlan": ("domains", "worth", "strata", "sentences", "provenance"),
    "Selection": ("criterion", "trace"),
}


# ---------------------------------------------------------------- recording


def record(result: Any) -> dict[str, Any]:
    """Return the entries of a result, by name."""
    return dict(entries("", result))


def entries(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Take a value apart into named columns of numbers or text."""
    kinds = [kind.__name__ for kind in type(value).__mro__]
    known = next((PUBLIC[kind] for kind in kinds if kind in PUBLIC), None)
    if "EstimateTable" in kinds:
        yield from entries(name, value.frame)
    elif known is not None:
        for part in known:
            if hasattr(value, part):
                found = getattr(value, part)
                yield from entries(join(name, part), found() if part == "sentences" else found)
        if "Result" in kinds:
            yield from verbs(name, value)
    elif isinstance(value, pd.DataFrame):
        if not isinstance(value.index, pd.RangeIndex):
            yield join(name, "index"), column(pd.Series([str(label) for label in value.index]))
        for label in value.columns:
            if label != "run":
                yield join(name, str(label)), column(value[label])
    elif isinstance(value, pd.Series):
        yield join(name, "index"), column(pd.Series([str(label) for label in value.index]))
        yield join(name, "values"), column(value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if "provenance" not in name.split(".") or str(key) not in SKIPPED:
                yield from entries(join(name, str(key)), part)
    elif isinstance(value, np.ndarray):
        yield name, array(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield from entries(join(name, part.name), getattr(value, part.name))
    elif isinstance(value, (float, np.floating)):
        yield name, array(np.array([value], dtype=float))
    elif isinstance(value, (list, tuple)):
        yield name, {"text": [str(part) for part in value]}
    else:
        yield name, {"text": [str(value)]}


def verbs(name: str, fit: Any) -> Iterator[tuple[str, Any]]:
    """Draws, joint errors and the summary of a fit; leave-one-out and predictive check of posteriors."""
    import sae

    yield join(name, "draws"), array(fit.draws(DRAWS, seed=SEED).values)
    yield join(name, "joint.mse"), array(np.asarray(fit.joint.mse()))
    yield join(name, "joint.covariance"), array(np.asarray(fit.joint.covariance()))
    yield join(name, "summary"), {"text": fit.summary().splitlines()}
    for verb, call in (("loo", fit.loo), ("check", lambda: fit.predictive_check(200, seed=SEED))):
        try:
            table = call()
        except sae.errors.SaeSpecError:  # not a Bayesian fit
            continue
        yield from entries(join(name, verb), table)


def join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def column(values: pd.Series) -> dict[str, Any]:
    if pd.api.types.is_float_dtype(values.dtype):
        return array(values.to_numpy(dtype=float, na_value=np.nan))
    return {"text": [str(value) for value in values.astype(object)]}


def array(values: np.ndarray) -> dict[str, Any]:
    if values.dtype.kind != "f":
        return {"text": [str(value) for value in values.ravel().tolist()]}
    flat = np.ascontiguousarray(values, dtype=float).ravel()
    flat = np.where(np.isnan(flat), np.nan, flat)  # one kind of NaN
    found: dict[str, Any] = {"shape": list(values.shape)}
    if len(flat) > THIN:
        found["sha256"] = hashlib.sha256(flat.tobytes()).hexdigest()[:16]
        flat = flat[np.linspace(0, len(flat) - 1, KEPT).astype(int)]
    return {**found, "float": [round_trip(value) for value in flat.tolist()]}


def round_trip(value: float) -> float | str:
    """JSON keeps floats exactly, but for what is no number."""
    return value if np.isfinite(value) else str(value)


def run(case: Any) -> tuple[dict[str, Any], float]:
    """Run a case; its entries, with what it warned of, and the seconds it took."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        found = record(case.run())
        took = time.perf_counter() - start
    mine = [one for one in caught if one.category.__module__.partition(".")[0] == "sae"]
    # a set: a fit that is repeated, or asked for two tables, may warn again
    found["warned"] = {"text": sorted({f"{one.category.__name__}: {one.message}" for one in mine})}
    return found, took


def machine() -> dict[str, str]:
    """What the bits of a float depend on."""
    return {
        "python": platform.python_version(),
        "processor": processor(),
        **{name: version_of(name) for name in PACKAGES},
        **{name: os.environ.get(name, "") for name in THREADS},
    }


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """Name, family, model and vector units: what BLAS and the compiler choose their code by."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return f"{platform.system()} {platform.machine()} {platform.processor()}"
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    parts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    words = [parts.get(key, "") for key in ("model name", "cpu family", "model")]
    flags = hashlib.sha256(parts.get("flags", "").encode()).hexdigest()[:8]
    return " / ".join([*words, f"flags {flags}"])


def commit() -> str:
    """Return the last commit that touched the package, not the one of the tests."""
    command = ["git", "log", "-1", "--format=%H", "--", "../../sae"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    return done.stdout.strip()


def read(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def write(path: Path, cases: dict[str, Any], header: dict[str, Any]) -> None:
    """Write a record; the same bytes for the same figures."""
    text = json.dumps({"header": header, "cases": cases}, sort_keys=True, ensure_ascii=False, indent=0)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


# ---------------------------------------------------------------- comparing


@dataclasses.dataclass(frozen=True)
class Change:
    """One entry that is not as it was; ``largest`` is relative to the largest value of the entry."""

    name: str
    kind: str  # "value", "text", "missing" or "new"
    largest: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        size = f" {self.largest:.2g}" if self.kind == "value" else ""
        return f"{self.name}: {self.kind}{size}{self.detail and ' ' + self.detail}"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return every difference of two sets of entries, in the order of the old one."""
    changes = []
    for name, was in old.items():
        if name not in new:
            changes.append(Change(name, "missing"))
        elif name == "warned":
            lost = sorted(set(was["text"]) - set(new[name]["text"]))
            more = sorted(set(new[name]["text"]) - set(was["text"]))
            changes += [Change(name, "text", detail=f"no longer: {words}") for words in lost]
            changes += [Change(name, "new", detail=words) for words in more]
        elif was != new[name]:
            changes.append(changed(name, was, new[name]))
    return changes + [Change(name, "new") for name in new if name not in old]


def changed(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Change:
    if "text" in was and "text" in now:
        if len(was["text"]) != len(now["text"]):
            return Change(name, "text", detail=f"{len(was['text'])} -> {len(now['text'])} lines")
        pairs = [(a, b) for a, b in zip(was["text"], now["text"], strict=True) if a != b]
        return Change(name, "text", detail=f"in {len(pairs)}: {pairs[0][0]!r} -> {pairs[0][1]!r}")
    if "text" in was or "text" in now or was["shape"] != now["shape"]:
        return Change(name, "text", detail=f"{form(was)} -> {form(now)}")
    a, b = (np.array(one["float"], dtype=float) for one in (was, now))
    if (np.isnan(a) != np.isnan(b)).any() or (np.isinf(a) != np.isinf(b)).any():
        return Change(name, "value", np.inf, "a value came or went")
    known = np.isfinite(a)
    scale = np.abs(a[known]).max(initial=0.0)
    gap = np.abs(a - b)[known].max(initial=0.0)
    largest = float(gap / scale) if scale > 0 else float(gap)
    return Change(name, "value", largest, "(in values that are not kept)" if gap == 0 else "")


def form(entry: Mapping[str, Any]) -> str:
    return "text" if "text" in entry else f"floats {tuple(entry['shape'])}"


def main(words: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="record; with --only, replace these cases")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="exit 1 on any difference")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases, or beginnings of names")
    parser.add_argument("--fast", action="store_true", help="leave the slow cases out")
    given = parser.parse_args(None if words is None else list(words))
    if (given.write is None) == (given.compare is None):
        parser.error("say --write FILE or --compare FILE")
    from cases import CASES

    chosen = [
        case
        for name, case in CASES.items()
        if (not given.only or name.startswith(tuple(given.only))) and not (given.fast and case.slow)
    ]
    if given.compare:
        return compare_all(read(given.compare), chosen)
    old = read(given.write)["cases"] if given.write.exists() and (given.only or given.fast) else {}
    found, here, took_all = {}, commit(), 0.0
    for case in chosen:
        parts, took = run(case)
        found[case.name] = {"commit": here, "entries": parts}
        took_all += took
        print(f"{case.name}: {len(parts)} entries, {took:.2f} s", flush=True)
    write(given.write, {**old, **found}, {"commit": here, **machine()})
    print(f"{len(found)} cases, {took_all:.0f} s, {given.write.stat().st_size / 1000:.0f} kB")
    return 0


def compare_all(stored: Mapping[str, Any], chosen: Iterable[Any]) -> int:
    differ = 0
    here = machine()
    for name, was in stored["header"].items():
        if name in here and here[name] != was:
            print(f"{name}: recorded with {was!r}, here {here[name]!r}")
    for case in chosen:
        if case.name not in stored["cases"]:
            print(f"{case.name}: not in the record")
            differ += 1
            continue
        found, took = run(case)
        changes = compare(stored["cases"][case.name]["entries"], found)
        bad = [one for one in changes if one.kind != "new"]
        differ += bool(bad)
        print(f"{case.name}: {'DIFFERS' if bad else 'identical'} ({took:.2f} s)", flush=True)
        for one in changes:
            print(f"    {one}")
    print(f"{differ} cases differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
