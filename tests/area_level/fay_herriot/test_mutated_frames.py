"""The door of FayHerriot: whatever frame comes, a finite right table, or an error that names the thing."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError

FEW, MANY = 120, 10_000
METHODS = ("reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml", "bayes")


def frame_of(rng):
    """A frame of ordinary or odd rows: variances of up to 30 orders, few areas, columns of any kind."""
    n = int(rng.choice([1, 2, 3, 4, 5, 8, 15, 60]))
    size = 10.0 ** rng.choice([0.0, 0.0, 0.0, -6.0, 6.0, -80.0, 80.0])
    x = rng.normal(size=n) * 10.0 ** rng.choice([0, 0, 8, -8]) + rng.choice([0.0, 0.0, 1e8])
    vardir = 10.0 ** rng.uniform(-rng.choice([0.5, 4, 15, 30]), 0, size=n)
    y = size * (1.0 + 0.5 * np.nan_to_num((x - x.mean()) / (x.std() or 1.0)) + rng.normal(size=n))
    frame = pd.DataFrame({"domain": [f"A{k}" for k in range(n)], "y": y, "vardir": vardir * size**2, "x": x})
    return frame.assign(w=rng.normal(size=n), n_eff=rng.integers(1, 500, n).astype(float))


def missing(rng, frame, name):
    frame[name] = frame[name].where(rng.random(len(frame)) > 0.2)


def odd_value(rng, frame, name):
    frame[name] = frame[name].astype(object)
    odd = [
        np.inf,
        -np.inf,
        0.0,
        -1.0,
        "1,5",
        "25 %",
        "n/a",
        "",
        True,
        10**400,
        1e308,
        5e-324,
        None,
        [1.0],
        1 + 2j,
    ]
    frame.at[int(rng.integers(len(frame))), name] = odd[int(rng.integers(len(odd)))]


def other_kind(rng, frame, name):
    kinds = ["float32", "Float64", "string", "category", "object", "complex128"]
    frame[name] = frame[name].astype(kinds[int(rng.integers(len(kinds)))])


def constant(rng, frame, name):
    frame[name] = rng.choice([0.0, 1.0, 1e8])


def repeated(rng, frame, name):
    frame.loc[len(frame)] = frame.iloc[0]


def without(rng, frame, name):
    del frame[name]


def collinear(rng, frame, name):
    plain = pd.api.types.is_float_dtype(frame["x"].dtype)  # an earlier change may have put anything there
    frame["w"] = 2.0 * frame["x"] + (1.0 if rng.random() < 0.5 else 0.0) if plain else frame["x"]


def whole(rng, frame, name):
    frame[name] = rng.integers(0, 5, len(frame))


def odd_label(rng, frame, name):
    frame["domain"] = frame["domain"].astype(object)
    odd = [None, "", 1, 1.0, "A1", ("a", "b"), np.nan, pd.Timestamp("2024-01-01"), True]
    frame.at[0, "domain"] = odd[int(rng.integers(len(odd)))]


CHANGES = (missing, odd_value, other_kind, constant, repeated, without, collinear, whole, odd_label)


def specification(rng):
    options = {"method": str(rng.choice(METHODS)), "level": float(rng.choice([0.5, 0.95, 0.999]))}
    if rng.random() < 0.2:
        options["transform"] = str(rng.choice(["arcsin", "log", "logit"]))
        options["replicates"] = 5
    formula = str(rng.choice(["y ~ x", "y ~ 1", "y ~ x + w", "y ~ 0 + x", "y ~ 0 + w + x"]))
    return sae.FayHerriot(formula, **options)


def check(frame, spec):
    """The table is finite and holds together; with the figures in other units it is the same."""
    try:
        fit = spec.fit(frame, seed=1)
    except SaeError as error:
        assert len(str(error)) > 20
        assert "please report" not in str(error)
        return False
    table = fit.to_frame()
    assert len(table) == len(frame)
    direct = pd.to_numeric(frame["y"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    estimate, se = table["estimate"].to_numpy(), table["se"].to_numpy()
    assert np.isfinite(estimate).all(), table
    assert (se >= 0).all() and not np.isnan(se).any(), table
    low, high = table["ci_low"].to_numpy(), table["ci_high"].to_numpy()
    held = (low <= estimate) & (estimate <= high)
    assert (held | np.isnan(low)).all(), table
    gamma = table["gamma"].to_numpy()
    assert ((gamma >= 0) & (gamma <= 1 + 1e-12)).all(), table
    assert np.array_equal(table["in_sample"], np.isfinite(direct))
    return True


def trials(seed, count):
    rng, fitted = np.random.default_rng(seed), 0
    for trial in range(count):
        frame, spec = frame_of(rng), specification(rng)
        for _ in range(int(rng.choice([0, 0, 1, 1, 2]))):
            change = CHANGES[int(rng.integers(len(CHANGES)))]
            try:
                change(rng, frame, str(rng.choice(["y", "vardir", "x", "n_eff"])))
            except (TypeError, ValueError, KeyError, IndexError):
                continue  # the change does not go with an earlier one
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                fitted += check(frame, spec)
            except Exception as error:
                error.add_note(f"seed {seed}, trial {trial}: {spec!r}\n{frame.dtypes}\n{frame.head(8)}")
                raise
    return fitted


def test_a_finite_table_or_an_error_that_names_the_thing():
    assert trials(1, FEW) > FEW / 5


@pytest.mark.slow
def test_ten_thousand_frames():
    assert trials(2, MANY) > MANY / 5
