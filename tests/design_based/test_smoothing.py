"""Smoothed variances: nearer to the known truth than the raw ones, never 0, hand-computed forms, refusals."""

import numpy as np
import pandas as pd
import pytest

from sae.design_based.smoothing import smooth
from sae.errors import SaeInputError, SaeSpecError

ROUNDING = 1e-12  # the same formula evaluated apart
# Means over 40 simulated surveys of 80 domains: a pooled design effect has a standard error of about 2 %.
POOLED = 0.08
# A regression line fitted to simulated lognormal variances: standard error about 0.03 on each slope.
SLOPE = 0.12


def survey(rng, n_domains=80, take=4, rho=0.08, mean=0.25, precision=12.0):
    """Domains of 2 to 15 clusters with beta-binomial shares; the true variance of each estimate is known."""
    m = rng.integers(2, 16, n_domains)
    truth = rng.beta(mean * precision, (1 - mean) * precision, n_domains)
    rows, variance = [], []
    for clusters, share in zip(m, truth, strict=True):
        k = (1 - rho) / rho
        y = rng.binomial(take, rng.beta(share * k, (1 - share) * k, clusters))
        n = take * clusters
        p = y.sum() / n
        v = clusters / (clusters - 1) * np.sum((y - take * p) ** 2) / n**2
        rows.append((n, p, v, clusters - 1))
        variance.append(share * (1 - share) / n * (1 + (take - 1) * rho))
    return pd.DataFrame(rows, columns=["n", "estimate", "variance", "df"]), np.array(variance)


@pytest.mark.parametrize("method", ["deff", "gvf", "arcsin"])
@pytest.mark.parametrize(("mean", "precision"), [(0.25, 12.0), (0.05, 30.0), (0.6, 200.0)])
def test_smoothed_variances_are_nearer_to_the_truth(method, mean, precision, rng):
    raw, smoothed, level, zeros = [], [], [], 0
    for _ in range(20):
        frame, truth = survey(rng, mean=mean, precision=precision)
        vardir = smooth(frame, method).vardir
        assert np.all(vardir > 0)
        zeros += int((frame.variance == 0).sum())
        raw.append(np.mean((frame.variance - truth) ** 2))
        smoothed.append(np.mean((vardir - truth) ** 2))
        level.append(vardir.sum() / truth.sum())
    assert zeros > 0
    assert np.mean(smoothed) < 0.6 * np.mean(raw)
    if method != "gvf":  # a GVF drops the domains without a variance and so errs upwards for rare events
        assert abs(np.mean(level) - 1) < POOLED + 0.05


def test_pooled_design_effect_is_found(rng):
    found = [
        float(smooth(survey(rng)[0], "deff").log[0].split("effect ")[1].split(",")[0]) for _ in range(40)
    ]
    assert np.mean(found) == pytest.approx(1 + 3 * 0.08, rel=POOLED)


def test_deff_by_hand():
    frame = pd.DataFrame({"n": [10, 20], "estimate": [0.5, 0.5], "variance": [0.05, 0.025], "df": [9, 19]})
    got = smooth(frame, "deff")
    element = np.array([0.25 * 10 / 9, 0.25 * 20 / 19])
    deff = (9 * 10 * 0.05 + 19 * 20 * 0.025) / (9 * element[0] + 19 * element[1])
    unit = (9 * 10 * 0.05 + 19 * 20 * 0.025) / 28  # deff times the mean of p(1-p) n/(n-1)
    np.testing.assert_allclose(got.vardir, unit / frame["n"], rtol=ROUNDING)
    np.testing.assert_allclose(got.n_eff, frame["n"] / deff, rtol=ROUNDING)
    np.testing.assert_allclose(smooth(frame, "arcsin").vardir, got.vardir, rtol=ROUNDING)


def test_a_variance_does_not_hang_on_the_domain_s_own_estimate():
    shares = [0.1, 0.5, 0.9, 0.3]
    frame = pd.DataFrame({"n": 10, "estimate": shares, "variance": 0.02, "df": 9})
    for method in ("deff", "arcsin"):
        vardir = smooth(frame, method).vardir
        np.testing.assert_allclose(vardir, vardir[0], rtol=ROUNDING)


def test_groups_have_their_own_p():
    """Natives near a half, foreigners near a tenth: each group by its own mean p(1 - p)."""
    shares, variances = [0.5, 0.5, 0.1, 0.1], [0.0025, 0.0025, 9e-4, 9e-4]
    frame = pd.DataFrame({"n": 101, "estimate": shares, "variance": variances, "df": 1e6})
    got = smooth(frame, "deff", groups=np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(got.vardir / frame["variance"], 1.0, rtol=0.02)
    whole = smooth(frame, "deff").vardir
    np.testing.assert_allclose(whole, whole[0], rtol=ROUNDING)
    assert "pooled in 2 groups" in got.log[0]


def test_zero_variance_and_unsampled_domains(rng):
    frame, _ = survey(rng)
    frame.loc[0, ["estimate", "variance"]] = 0.0
    frame.loc[1, ["estimate", "variance"]] = 1.0, 0.0
    frame.loc[2, ["variance", "df"]] = np.nan, 0
    frame.loc[3, ["n", "estimate", "variance", "df"]] = 0, np.nan, np.nan, np.nan
    for method in ("deff", "gvf", "arcsin"):
        got = smooth(frame, method)
        assert np.isnan(got.vardir[3]) and np.isnan(got.n_eff[3])
        assert np.all(np.delete(got.vardir, 3) > 0) and np.all(np.delete(got.n_eff, 3) > 0)
        filled = int((~(frame.variance > 0)).sum()) - 1
        assert got.log[-1] == f"79 sampled domains got a smoothed variance, {filled} of them had none above 0"


def test_arcsine_effective_size_is_n_over_the_design_effect(rng):
    frame, _ = survey(rng)
    got = smooth(frame, "arcsin")
    ratio = frame["n"] / got.n_eff
    np.testing.assert_allclose(ratio, ratio[0], rtol=ROUNDING)
    assert f"{ratio[0]:.4g}/(4n)" in got.log[0]


def test_everybody_gave_the_same_answer_is_refused():
    frame = pd.DataFrame({"n": [10, 20], "estimate": [0.0, 0.0], "variance": [0.0, 0.0], "df": [9, 19]})
    with pytest.raises(SaeInputError, match="None of the 2 domains has a variance above 0"):
        smooth(frame, "deff")


def test_gvf_recovers_its_line(rng):
    """Means whose variances follow exp(1 + 1.5 log μ − log n) times lognormal noise of mean 1."""
    n, level, s = rng.integers(5, 200, 400), rng.uniform(10, 100, 400), 0.5
    truth = np.exp(1 + 1.5 * np.log(level) - np.log(n))
    noise = np.exp(rng.normal(-(s**2) / 2, s, 400))
    frame = pd.DataFrame({"n": n, "estimate": level, "variance": truth * noise, "df": n - 1})
    got = smooth(frame, "gvf")
    np.testing.assert_allclose(got.vardir / truth, 1.0, atol=3 * SLOPE)
    assert np.mean(got.vardir / truth) == pytest.approx(1, abs=SLOPE)  # without exp(s²/2) it would be 0.88
    X = np.column_stack([np.ones(400), np.log(level), np.log(n)])
    b, residuals, *_ = np.linalg.lstsq(X, np.log(frame.variance), rcond=None)
    expected = np.exp(X @ b + residuals[0] / 397 / 2)
    np.testing.assert_allclose(got.vardir, expected, rtol=1e-9)
    assert f"{b[1]:.4g} log|estimate|" in got.log[0] and f"{b[2]:.4g} log n" in got.log[0]
    assert "R² " in got.log[0] and "fitted on 400 domains" in got.log[0]


def test_gvf_for_a_gini_is_the_function_for_means(rng):
    """Values in [0, 1] that are no shares say so."""
    frame, _ = survey(rng)
    frame["estimate"] = frame["estimate"].clip(0.05, 0.95)
    assert "log|estimate|" in smooth(frame, "gvf", share=False).log[0]
    assert "log p(1-p)" in smooth(frame, "gvf").log[0]


def test_pooled_unit_variance_for_means():
    frame = pd.DataFrame(
        {"n": [10, 40, 5], "estimate": [100.0, 120, 90], "variance": [4.0, 1.5, 0.0], "df": [9, 39, 4]}
    )
    unit = (9 * 10 * 4.0 + 39 * 40 * 1.5) / 48
    np.testing.assert_allclose(smooth(frame, "deff").vardir, unit / frame["n"], rtol=ROUNDING)


def test_missing_values_of_nullable_columns():
    frame = pd.DataFrame(
        {
            "n": pd.array([10, 20, 0], dtype="Int64"),
            "estimate": pd.array([0.5, 0.4, None], dtype="Float64"),
            "variance": pd.array([0.03, 0.02, None], dtype="Float64"),
            "df": pd.array([9, 19, None], dtype="Float64"),
        }
    )
    assert np.isfinite(smooth(frame, "deff").vardir).tolist() == [True, True, False]


def test_refusals():
    frame = pd.DataFrame({"n": [10, 20], "estimate": [5.0, 0.4], "variance": [0.03, 0.02], "df": [9, 19]})
    with pytest.raises(SaeSpecError, match="'gfv' does not exist"):
        smooth(frame, "gfv")
    with pytest.raises(SaeSpecError, match="for shares, and these estimates are none"):
        smooth(frame, "arcsin")
    with pytest.raises(SaeSpecError, match="at least 5 domains with a variance above 0; 2 of 2"):
        smooth(frame, "gvf")
