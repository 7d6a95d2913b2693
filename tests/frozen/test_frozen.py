"""Frozen behaviour: what the public surface gave at the recorded commit, it gives now.

Bit for bit where versions, processor and BLAS threads are those of the record's header (floats are stored by
the shortest text that reads back as the same bits; longer columns with a digest of all their bytes).
Elsewhere compilers and BLAS sum in another order, so that

- fits and plans agree to `Case.close`, 1e-8 but where a case says more, relative to the largest value of the
  column (or to `SMALL`, for gaps and quadrature errors that are themselves rounding): 1e-16 through some
  thousand terms, the stopping rules of the fits (1e-10 and less), the condition of the designs (below 1e3);
- posteriors of weighted points (`Case.points`) agree to `POINTS`: the mode that the points are laid around is
  found to 1e-6 or so (two builds of BLAS moved them by 1e-5 at most, the unit-level logit by 4e-3). What is
  made of resampled points (`RESAMPLED`) keeps its shape only: a point past a step moves a whole draw;
- draws of a two-fold model with few areas are made of a root of the joint MSE, which is free (`FREE`);
- Markov chains (`Case.chain`) take another path from the first different bit on: their estimates agree to
  `LOOSE` posterior standard deviations, ends of intervals to twice that. 400 draws are worth some 100
  independent ones, two such means differ by 0.14 of a standard deviation; this is four times that;
- the summary prints rounded numbers, which can fall on the other side: its lines are only counted;
- labels, methods, intervals and notes agree exactly; in a text with an estimated number (a design effect in a
  log, a slope in a title) all but numbers with a decimal point, an exponent or a percent sign.

New entries do not fail: provenance may gain keys, and warnings may be added. Where behaviour is meant to
change, ``python tests/frozen/freeze.py --compare tests/frozen/frozen.json.gz`` tells by how much, the
CHANGELOG says so, and ``--write tests/frozen/frozen.json.gz --only NAME`` replaces the case.
"""

import copy
import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
try:
    import freeze
    from cases import CASES, Case
finally:
    sys.path.remove(str(HERE))

SMALL, POINTS = 1e-3, 1e-4
RESAMPLED = {"draws", "check", "joint", "residuals", "k", "k_hat", "rho_error"}
LOOSE = 0.6
FREE = {"two_fold_few": "fit.draws"}
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+|\d+ ?%")
PLAIN = Case("", dict)


@pytest.fixture(scope="module")
def stored():
    return freeze.read(freeze.FILE)


@pytest.fixture(scope="module")
def same_machine(stored):
    here = freeze.machine()
    return all(stored["header"][name] == value for name, value in here.items())


def parameters():
    for name, case in CASES.items():
        marks = [pytest.mark.slow] if case.slow else []
        yield pytest.param(case, id=name, marks=marks)


def failures(was, now, *, exact, case=PLAIN):
    """Changes that are more than the machine's: see the top of this file."""
    found = [one for one in freeze.compare(was, now) if one.kind != "new"]
    return found if exact else [one for one in found if not excused(one, was, now, case)]


def excused(change, was, now, case):
    part = change.name
    if change.kind == "missing" or part not in now:
        return False
    one, two = was[part], now[part]
    if part.rpartition(".")[2] == "summary":
        return len(one["text"]) == len(two["text"])
    if change.kind == "text":
        return "text" in one and "text" in two and unnumbered(one["text"]) == unnumbered(two["text"])
    if FREE.get(case.name) == part:
        return one["shape"] == two["shape"]
    if case.points and RESAMPLED & set(part.split(".")):
        return one["shape"] == two["shape"]
    if not case.chain:
        a, b = (np.array(entry["float"], dtype=float) for entry in (one, two))
        same = np.array_equal(np.isfinite(a), np.isfinite(b)) and np.array_equal(np.isnan(a), np.isnan(b))
        known = np.isfinite(a)
        scale = max(np.abs(a[known]).max(initial=0.0), SMALL)
        return bool(same and (np.abs(a - b)[known] <= max(case.close, POINTS * case.points) * scale).all())
    table, _, name = part.rpartition(".")
    if name not in ("estimate", "ci_low", "ci_high") or f"{table}.se" not in was:
        return True  # a chain's other figures follow from its path
    se = np.array(was[f"{table}.se"]["float"], dtype=float)
    gap = np.abs(np.subtract(one["float"], two["float"], dtype=float))
    return bool((gap <= (LOOSE if name == "estimate" else 2 * LOOSE) * se).all())


def unnumbered(lines):
    return [NUMBER.sub("#", line) for line in lines]


def test_every_case_is_recorded(stored):
    assert set(stored["cases"]) == set(CASES)
    assert freeze.FILE.stat().st_size < 900_000


@pytest.mark.parametrize("case", list(parameters()))
def test_behaviour_is_as_recorded(case, stored, same_machine):
    now, _ = freeze.run(case)
    changes = failures(stored["cases"][case.name]["entries"], now, exact=same_machine, case=case)
    assert not changes, "\n".join(map(str, changes))


# ---------------------------------------------------------------- the comparison can fail


@pytest.fixture
def entries(stored):
    return copy.deepcopy(stored["cases"]["fh_reml"]["entries"])


def test_the_smallest_step_of_a_float_is_seen(entries):
    now = copy.deepcopy(entries)
    value = now["estimates.mse"]["float"][3]
    now["estimates.mse"]["float"][3] = float(np.nextafter(value, 1.0))
    (change,) = failures(entries, now, exact=True)
    assert change.name == "estimates.mse" and change.kind == "value" and 0 < change.largest < 1e-15
    assert not failures(entries, now, exact=False)
    now["estimates.mse"]["float"][3] = value * (1 + 1e-5)
    assert failures(entries, now, exact=False)


def test_a_value_that_is_not_kept_is_seen_by_the_digest(entries):
    drawn = np.arange(1000.0)
    moved = drawn.copy()
    moved[1] += 1e-9
    now = {**entries, "draws": freeze.array(moved)}
    (change,) = failures({**entries, "draws": freeze.array(drawn)}, now, exact=True)
    assert change.name == "draws" and "not kept" in str(change)


def test_texts_missing_columns_and_missing_numbers_are_seen(entries):
    for name, new in (
        ("estimates.interval", {"text": ["t on the mse"] * 56}),
        ("estimates.domain", {"text": entries["estimates.domain"]["text"][::-1]}),
        ("estimates.gamma", {"text": ["0"]}),
        ("estimates.ci_low", {**entries["estimates.ci_low"], "float": ["nan"] * freeze.KEPT}),
        ("warned", {"text": []}),
    ):
        was = {**entries, "warned": {"text": ["SaeWarning: look"]}}
        for exact in (True, False):
            (change,) = failures(was, {**was, name: new}, exact=exact)
            assert change.name == name
    without = {key: value for key, value in entries.items() if key != "provenance.seed"}
    assert [one.kind for one in failures(entries, without, exact=False)] == ["missing"]
    assert not failures(without, entries, exact=True)  # a new key is told, and does not fail
    assert [str(one) for one in freeze.compare(without, entries)] == ["provenance.seed: new"]


def test_chains_may_differ_by_their_noise_only(stored):
    was = stored["cases"]["student"]["entries"]
    se = np.array(was["estimates.se"]["float"])
    for steps, wrong in ((0.1, 0), (1.5, 1)):
        now = copy.deepcopy(was)
        now["estimates.estimate"]["float"] = list(np.array(was["estimates.estimate"]["float"]) + steps * se)
        assert len(failures(was, now, exact=False, case=CASES["student"])) == wrong


def test_the_command_says_what_differs(tmp_path, stored, capsys):
    changed = copy.deepcopy(stored)
    changed["cases"]["fh_ml"]["entries"]["estimates.mse"]["float"][0] *= 1.5
    path = tmp_path / "changed.json.gz"
    path.write_bytes(gzip.compress(json.dumps(changed).encode()))
    assert freeze.main(["--compare", str(path), "--only", "fh_ml"]) == 1
    assert "estimates.mse: value" in capsys.readouterr().out


def test_a_record_is_written_and_reads_back(tmp_path, capsys):
    path = tmp_path / "record.json.gz"
    assert freeze.main(["--write", str(path), "--only", "fh_ml"]) == 0
    assert freeze.main(["--compare", str(path), "--only", "fh_ml"]) == 0
    assert "fh_ml: identical" in capsys.readouterr().out
