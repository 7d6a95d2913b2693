"""Every area-level family says what is doubtful of its data: once, at the caller's line, and on record."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import BoundaryVarianceWarning, CollinearityWarning, ExtrapolationWarning

AREAS = 60  # enough for intervals on the MSE
FAR = "A59"  # has no sample, and covariates far from the others'
EDGES = pd.DataFrame({"a": [f"A{k:02d}" for k in range(59)], "b": [f"A{k:02d}" for k in range(1, 60)]})
FEW = {"draws": 400}


def areas(*, exact=False, far=50.0):
    """Areas whose covariates z and twin nearly explain each other; exact: without any area effect."""
    rng = np.random.default_rng(3)
    x, z = rng.uniform(size=(2, AREAS))
    truth = 2.0 + x + (0.0 if exact else 0.5) * rng.normal(size=AREAS)
    rate = 1.0 / (1.0 + np.exp(1.5 - x - 0.3 * rng.normal(size=AREAS)))
    frame = pd.DataFrame(
        {
            "domain": [f"A{k:02d}" for k in range(AREAS)],
            "city": [f"C{k // 4}" for k in range(AREAS)],
            "year": 2020,
            "x": x,
            "z": z,
            "twin": z + 0.02 * rng.normal(size=AREAS),
            "y": truth + (0.02 if exact else 0.3) * rng.normal(size=AREAS),
            "w": truth + (0.02 if exact else 0.3) * rng.normal(size=AREAS),
            "y_w": 0.0,
            "vardir": 0.09,
            "x_var": 0.001,
            "n": 40.0,
            "n_eff": 40.0,
            "df": 20.0,
            "count": rng.binomial(40, rate).astype(float),
        }
    )
    frame["share"] = np.clip(frame["count"] / 40, 0.02, 0.98)
    last = frame["domain"] == FAR
    frame.loc[last, ["x", "z", "twin"]] = far
    frame.loc[last, ["y", "w", "share", "count"]] = np.nan
    return frame


def years(**given):
    """Three years of the same areas."""
    frame, rng = areas(**given), np.random.default_rng(4)
    noise = 0.02 if given.get("exact") else 0.3
    return pd.concat(
        [frame.assign(year=2020 + t, y=frame["y"] + noise * rng.normal(size=AREAS)) for t in range(3)]
    )


def fay_herriot(outcome="y", **options):
    return lambda right: sae.FayHerriot(f"{outcome} ~ {right}", **options)


def multivariate(**options):
    vardir = {"y": "vardir", "w": "vardir", ("y", "w"): "y_w"}
    return lambda right: sae.MultivariateFayHerriot(
        [f"y ~ {right}", f"w ~ {right}"], vardir=vardir, **options
    )


# name: (the model of a right-hand side, its data, whether it needs a seed, whether its variance can be 0)
FAMILIES = {
    "reml": (fay_herriot(), areas, False, True),
    "moments": (fay_herriot(method="fh"), areas, False, True),
    "bootstrap": (fay_herriot(mse="bootstrap", replicates=20), areas, True, True),
    "arcsin": (fay_herriot("share", transform="arcsin", replicates=20), areas, True, False),
    "adjusted": (fay_herriot(method="ll-reml"), areas, False, False),
    "bayes": (fay_herriot(method="bayes"), areas, False, False),
    "sar": (fay_herriot(spatial=sae.SAR(EDGES)), areas, False, True),
    "ar1": (fay_herriot(temporal=sae.AR1("year"), replicates=20), years, True, True),
    "bym2": (fay_herriot(method="bayes", spatial=sae.BYM2(EDGES)), areas, False, False),
    "rw1": (fay_herriot(method="bayes", temporal=sae.RW1("year")), years, False, False),
    "two-fold": (
        lambda right: sae.TwoFoldFayHerriot(f"y ~ {right}", area="city", replicates=20),
        areas,
        True,
        True,
    ),
    "robust": (lambda right: sae.RobustFayHerriot(f"y ~ {right}"), areas, False, True),
    "measured": (
        lambda right: sae.MeasurementErrorFayHerriot(f"y ~ {right}", errors={"x": "x_var"}),
        areas,
        False,
        True,
    ),
    "measured-bayes": (
        lambda right: sae.MeasurementErrorFayHerriot(f"y ~ {right}", errors={"x": "x_var"}, method="bayes"),
        areas,
        False,
        False,
    ),
    "multivariate": (multivariate(structure="diagonal", replicates=20), areas, True, True),
    "multivariate-bayes": (multivariate(method="bayes"), areas, False, False),
    "binomial": (lambda right: sae.BinomialMixed(f"count ~ {right}"), areas, False, False),
    "beta-binomial": (lambda right: sae.BetaBinomialMixed(f"count ~ {right}"), areas, False, False),
    "beta": (lambda right: sae.BetaFayHerriot(f"share ~ {right}"), areas, False, False),
    "poisson": (lambda right: sae.PoissonMixed(f"count ~ {right}", exposure="n"), areas, False, False),
    "unmatched": (lambda right: sae.UnmatchedFayHerriot(f"y ~ {right}"), areas, False, False),
    "you-chapman": (lambda right: sae.YouChapman(f"y ~ {right}"), areas, False, False),
    "student": (lambda right: sae.StudentFayHerriot(f"y ~ {right}", **FEW), areas, True, False),
    "horseshoe": (lambda right: sae.HorseshoeFayHerriot(f"y ~ {right}", **FEW), areas, True, False),
    "inflated-beta": (
        lambda right: sae.InflatedBetaFayHerriot(f"share ~ {right}", draws=2000),
        areas,
        True,
        False,
    ),
}
SLOW = {"inflated-beta", "beta-binomial"}


def families(chosen):
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in FAMILIES
        if chosen(name)
    ]


def fitted(model, frame, seeded, category):
    """Fit; each sentence of a kind is said once: as a warning here, on record and in the summary."""
    seed = {"seed": 1} if seeded else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = model.fit(frame, **seed)
    of_kind = [warning for warning in caught if warning.category is category]
    texts = [str(warning.message) for warning in of_kind]
    assert len(set(texts)) == len(texts) > 0
    assert {warning.filename for warning in of_kind} == {__file__}
    assert texts == [message.text for message in result.messages if message.category is category]
    summary = str(result.summary())
    for text in texts:
        assert summary.count(text) == 1
        assert list(result.provenance["warnings"]).count(text) == 1
    return texts


@pytest.mark.parametrize("name", families(lambda name: True))
def test_extrapolation_is_said(name):
    make, data, seeded, _ = FAMILIES[name]
    frame = data()
    texts = fitted(make("x"), frame, seeded, ExtrapolationWarning)
    assert len(texts) == 1 and FAR in texts[0] and "x)" in texts[0]
    assert "A00" not in texts[0]


@pytest.mark.parametrize("name", families(lambda name: True))
def test_near_collinearity_is_said(name):
    make, data, seeded, _ = FAMILIES[name]
    texts = fitted(make("x + z + twin"), data(), seeded, CollinearityWarning)
    assert all("z, " in text and "twin" in text for text in texts)


@pytest.mark.parametrize("name", families(lambda name: FAMILIES[name][3]))
def test_a_variance_at_its_boundary_is_said(name):
    make, data, seeded, _ = FAMILIES[name]
    texts = fitted(make("x"), data(exact=True), seeded, BoundaryVarianceWarning)
    assert all("estimated exactly 0" in text for text in texts)


def test_what_is_well_is_not_doubted():
    frame = areas(far=0.5)
    for make, data, seeded, _ in FAMILIES.values():
        if data is areas and not seeded:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                make("x").fit(frame)
