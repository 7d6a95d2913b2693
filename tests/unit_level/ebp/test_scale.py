"""EBP whose errors differ in size: what the result says of them, equivariance, coverage."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeConvergenceError, SaeWarning
from sae.unit_level import unit_residuals

LINE = 14_000.0
ROUNDING = 1e-5  # a parameter by differences on another scale of welfare; se of a figure 10,000 times it


def world(seed, areas=12, people=40, most=21):
    """A population with sizes exp(x'α / 2), log normal, and 3 to 20 units of each area in a sample."""
    rng = np.random.default_rng(seed)
    N, area = areas * people, np.repeat(np.arange(areas), people)
    frame = pd.DataFrame(
        {
            "area": area.astype(str),
            "age": rng.integers(-3, 4, N) / 2.0,
            "work": rng.choice(["no", "part", "full"], N),
        }
    )
    shift, size = ({"no": -0.4, "part": 0.0, "full": 0.3}, {"no": 0.4, "part": 0.0, "full": -0.4})
    k = np.exp(0.25 * frame["age"] + frame["work"].map(size))
    line = 10.0 + 0.25 * frame["age"] + frame["work"].map(shift) + 0.15 * rng.normal(size=areas)[area]
    frame["y"] = np.exp(line + 0.35 * k * rng.normal(size=N))
    n = np.random.default_rng(0).integers(3, most, areas)
    chosen = [d * people + rng.choice(people, n[d], replace=False) for d in range(areas)]
    return frame, frame.iloc[np.concatenate(chosen)]


def fitted(frame, sample, **options):
    given = {"errors": "heteroscedastic", "transform": "box-cox", "threshold": LINE, "mse": "none"}
    given["indicators"] = ["mean", "head_count"]
    spec = sae.EBP("y ~ age + work", domain="area", **{**given, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        return spec.fit(sample, areas=frame.drop(columns="y"), seed=1)


def test_the_result_knows_of_sizes():
    frame, sample = world(1)
    fit = fitted(frame, sample)
    sizes = fit.provenance["sizes"]
    assert list(sizes["alpha"]) == ["Intercept", "age", "work[T.no]", "work[T.part]"]
    assert sizes["alpha"]["work[T.no]"] > 0.5 and sizes["range"][0] < 0.7 < 1.3 < sizes["range"][1]
    residuals = unit_residuals(fit)
    no, full = fit.data.X[:, 2] == 1.0, fit.data.X[:, 2:].sum(axis=1) == 0.0
    apart = {name: residuals[name][no].std() / residuals[name][full].std() for name in residuals.columns[2:]}
    assert apart["residual"] > 1.6 and 0.7 < apart["standardised"] < 1.4
    u, e = fit.variance_components["sigma2_u"], fit.variance_components["sigma2_e"]
    known = fit.data.vardir
    assert np.mean(known) == pytest.approx(e)  # k² has mean 1
    precision = pd.Series(1.0 / known).groupby(fit.data.row).sum()
    table = fit.to_frame().drop_duplicates("domain")
    gamma = u / (u + 1.0 / precision.to_numpy())
    np.testing.assert_allclose(table["gamma"], gamma)
    assert f"Errors of units have {sizes['range'][0]:.2f} to" in fit.summary()
    normal = fitted(frame, sample, errors="normal")
    assert "sizes" not in normal.provenance


def test_units_of_money_and_order_do_not_matter():
    frame, sample = world(2)
    one = fitted(frame, sample).to_frame()
    turned = sample.iloc[::-1].assign(y=lambda f: 100.0 * f["y"])
    other = fitted(frame.iloc[::-1].assign(y=0.0), turned, threshold=100.0 * LINE).to_frame()
    key = ["domain", "indicator"]
    pair = one.merge(other, on=key, suffixes=("", "_other"))
    unit = np.where(pair["indicator"] == "mean", 100.0, 1.0)
    np.testing.assert_allclose(pair["estimate_other"] / unit, pair["estimate"], rtol=ROUNDING)


def test_sizes_that_do_not_settle_are_named():
    """All of a level have one income: the likelihood rises without end as their errors vanish."""
    frame, sample = world(3)
    same = sample.assign(y=sample["y"].where(sample["work"] != "part", 20_000.0))
    with pytest.raises(SaeConvergenceError, match=r"do not settle: work\[T.part\] moves them most"):
        fitted(frame, same, transform="log")


@pytest.mark.slow
def test_coverage_where_the_model_is_true():
    """40 areas of 3 to 20 units, 60 samples, B = 60: .965 of means and .955 of head counts, ± .004."""
    covered = {"mean": [], "head_count": []}
    for seed in range(60):
        frame, sample = world(seed, areas=40, people=150)
        table = fitted(frame, sample, transform="log", mse="auto", replicates=60).to_frame()
        poor = (frame["y"] < LINE).groupby(frame["area"]).mean()
        truth = {"mean": frame.groupby("area")["y"].mean(), "head_count": poor}
        for name, part in table.groupby("indicator"):
            true = truth[name].reindex(part["domain"]).to_numpy()
            covered[name].append(((part["ci_low"] <= true) & (true <= part["ci_high"])).mean())
    for name, shares in covered.items():
        error = np.std(shares) / np.sqrt(len(shares))
        assert 0.94 - 2.0 * error < np.mean(shares) < 0.96 + 2.0 * error, name
