"""The door of strata and targets: mutated frames give a right plan, or a SaeError that names the thing.

A plan is right if its sizes are whole and within the bounds, no domain of the fit is lost, and what it says
of each target is what variances computed here, from the frame as it was given, say too.
"""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeError
from sae.planning import CV, RMSE, EffectiveSize, HalfWidth, Target, allocate, oversample
from sae.planning.with_model.arrays import Reach

EDGE = 1e-6  # relative, of a variance that a rounding of whole numbers may miss
CI, SLOW = 40, 10_000
D = 8


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(4)
    x, n = rng.uniform(-1, 1, D), rng.integers(20, 90, D)
    truth = 0.5 + 0.1 * x + 0.05 * rng.normal(size=D)
    vardir = 1.3 * truth * (1 - truth) / n
    data = pd.DataFrame({"area": names(), "x": x, "vardir": vardir, "n": n})
    data["y"] = truth + np.sqrt(vardir) * rng.normal(size=D)
    return sae.FayHerriot("y ~ x", domain="area", method="bayes").fit(data)


def names():
    return [f"A{d}" for d in range(D)]


def cells(rng):
    frame = pd.DataFrame(
        {
            "domain": np.repeat(names(), 2),
            "stratum": [f"{name}-{part}" for name in names() for part in "ab"],
            "population": rng.integers(60, 30_000, 2 * D),
            "density": rng.uniform(0.2, 1.0, 2 * D),
            "cost": rng.uniform(1, 9, 2 * D),
            "response": rng.uniform(0.4, 1.0, 2 * D),
            "n_now": rng.integers(0, 60, 2 * D),
        }
    )
    if rng.random() < 0.5:
        frame = frame.drop(columns=list(rng.choice(["density", "cost", "response", "n_now"], 2, False)))
    if rng.random() < 0.3:
        frame["stratum"] = [f"S{k % 5}" for k in range(2 * D)]
        frame = frame.drop_duplicates(["domain", "stratum"])
    return frame


def strata(rng):
    return (
        cells(rng)
        .assign(stratum=[f"S{k}" for k in range(2 * D)], share_rate=rng.uniform(0.1, 0.9, 2 * D))
        .rename(columns={"domain": "region"})
    )


VALUES = [
    np.nan,
    np.inf,
    -np.inf,
    -1,
    0,
    0.4,
    2.5,
    1e300,
    1e-300,
    True,
    None,
    pd.NA,
    "",
    "x",
    "1,5",
    "3",
    "25 %",
    pd.Timestamp("2024-01-01"),
]
NAMES = [
    "densty",
    "N_now",
    "n-now",
    "pop",
    "Cost ",
    "respnse",
    "maximun",
    "remark",
    "density_foreign",
    7,
    None,
]


def mutate(frame, rng):
    """Return the frame with one thing changed, and what an error may name."""
    frame = frame.copy()
    column = frame.columns[rng.integers(frame.shape[1])]
    row = int(rng.integers(len(frame)))
    kind = rng.integers(9)
    if kind == 0:
        frame = frame.drop(index=frame.index[row])
    elif kind == 1:
        frame = pd.concat([frame, frame.iloc[[row]]])
    elif kind in (2, 3, 4):
        frame[column] = frame[column].astype(object)
        values = frame[column].tolist()
        values[row] = VALUES[rng.integers(len(VALUES))]
        frame[column] = pd.Series(values, index=frame.index, dtype=object)
    elif kind == 5:
        frame = frame.rename(columns={column: NAMES[rng.integers(len(NAMES))]})
    elif kind == 6:
        frame = frame.drop(columns=column)
    elif kind == 7:
        kinds = ("object", "string", "category")
        frame[column] = frame[column].astype(kinds[rng.integers(3)])
    else:
        frame = frame.sample(frac=1.0, random_state=int(rng.integers(2**31)))
    return frame


RULES = [
    0.1,
    0.05,
    CV(0.07),
    HalfWidth(0.08),
    RMSE(0.03),
    EffectiveSize(80),
    1,
    0.0,
    -0.1,
    np.nan,
    np.inf,
    "0.1",
    None,
    True,
    [0.1],
    8,
]


def targets_of(rng):
    rule = RULES[rng.integers(6)] if rng.random() < 0.7 else RULES[rng.integers(len(RULES))]
    kind = rng.integers(4)
    if kind < 2:
        return rule
    made = dict.fromkeys(rng.choice(names(), rng.integers(1, D + 1), False).tolist(), rule)
    if kind == 3 and rng.random() < 0.5:
        made[["A99", 3, None, ("A1", "A2")][rng.integers(4)]] = 0.1
    return made


def number(frame, column, default):
    return pd.to_numeric(frame[column].astype(object)).to_numpy(float) if column in frame else default


def check_with_model(plan, frame, targets, fit):
    domains = plan.domains.set_index("domain")
    frame = frame.assign(
        **{name: frame[name].map(sae.tables.label_text) for name in ("stratum", "domain") if name in frame}
    )
    asked = set(map(str, targets)) if isinstance(targets, dict) else set(names())
    assert asked <= set(domains.index) and set(domains.index) == set(frame["domain"].astype(str))
    n, low, high = plan.with_model.n, plan.cells.lower, plan.cells.upper
    assert n.dtype == np.int64 and (n >= low).all() and (n <= np.maximum(high, low)).all()
    members = number(frame, "population", 0.0) * number(frame, "density", np.ones(len(frame)))
    stratum = frame["stratum" if "stratum" in frame else "domain"].astype(str).to_numpy()
    group = pd.Series(members).groupby(stratum).sum()
    size = dict(zip(plan.cells.strata, plan.direct.n, strict=True))
    for name, reach, d in zip(domains.index, plan.reach, range(len(domains)), strict=True):
        here = (frame["domain"].astype(str) == name).to_numpy()
        own, M = members[here], members[here].sum()
        k = np.array([size[s] for s in stratum[here]], float)
        N = group.loc[stratum[here]].to_numpy()
        with np.errstate(divide="ignore"):
            variance = plan.unit[d] * ((own / M) ** 2 * (N / (own * k) - 1 / own)).sum()
        assert (name in asked) == (reach is not Reach.NO_TARGET)
        if name in asked:
            within = variance <= plan.bound[d] * (1 + EDGE) + EDGE * plan.unit[d] / M
            assert domains.loc[name, "met_direct_only"] <= within
            assert domains.loc[name, "met"] or domains.loc[name, "reason"]
    assert np.isfinite(plan.cost) and plan.cost >= 0
    change = plan.change
    assert change.net == change.added - change.removed == n.sum() - change.now
    if "n_now" in frame and not frame["n_now"].isna().any():
        assert change.now == number(frame, "n_now", 0).sum()


def check_direct(plan, frame):
    frame = frame.assign(**{name: frame[name].map(sae.tables.label_text) for name in ("stratum", "region")})
    assert set(plan["stratum"]) == set(frame["stratum"])
    N, p, n = number(frame, "population", 0.0), number(frame, "share_rate", 0.0), plan["n"].to_numpy(float)
    for _, line in plan.targets.iterrows():
        here = (frame["region"].astype(str) == line["domain"]).to_numpy()
        share = N[here] / N[here].sum()
        variance = (share**2 * p[here] * (1 - p[here]) * (1 / n[here] - 1 / N[here])).sum()
        assert line["se"] == pytest.approx(np.sqrt(max(variance, 0)), rel=1e-6, abs=1e-12) and line["met"]


def told(error, frame, targets):
    """Whether the error names a column, a row, a domain, or what it was given."""
    text = str(error)
    known = ["frame of strata", "target", "CV", "domain", *map(str, frame.columns), *names()]
    known += [
        str(value) for name in ("stratum", "domain", "region") if name in frame for value in frame[name]
    ]
    return len(text) > 20 and any(name and name in text for name in known)


def try_one(seed, fit):
    rng = np.random.default_rng(seed)
    with_model = rng.random() < 0.7
    frame = cells(rng) if with_model else strata(rng)
    for _ in range(rng.integers(0, 4)):
        if len(frame.columns) and len(frame) and frame.columns.is_unique:
            frame = mutate(frame, rng)
    targets = targets_of(rng) if with_model else Target("rate", CV(0.2), by="region")
    before = frame.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", category=RuntimeWarning)
        try:
            plan = oversample(fit, frame, targets=targets) if with_model else allocate(frame, targets)
            if with_model:
                repr(plan), plan.strata, plan.sentences(), plan.allocation
        except SaeError as error:
            assert told(error, frame, targets), f"seed {seed}: {error}"
            return False
    pd.testing.assert_frame_equal(frame, before)
    if with_model:
        check_with_model(plan, frame, targets, fit)
    else:
        check_direct(plan, frame)
    return True


def test_mutated_frames_give_a_right_plan_or_a_named_error(fit):
    right = sum(try_one(seed, fit) for seed in range(CI))
    assert CI * 0.15 < right < CI * 0.85  # both happen


@pytest.mark.slow
def test_ten_thousand_mutated_frames(fit):
    assert 0 < sum(try_one(seed, fit) for seed in range(CI, CI + SLOW)) < SLOW
