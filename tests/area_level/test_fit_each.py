"""Many fits in one call: one that cannot be had is named with its reason, and costs the others nothing."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError

pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")


def panel(bad_column, bad_value):
    """Three years of 12 areas; in 2022 something is wrong."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"domain": [f"A{k:02d}" for k in range(12)] * 3, "year": np.repeat([2021, 2022, 2023], 12)}
    )
    frame = frame.assign(x=rng.normal(size=36), vardir=0.3, n=40, population=1000)
    frame["y"] = 2 + frame["x"] + rng.normal(size=36)
    frame[bad_column] = frame[bad_column].astype(object)
    frame.loc[frame["year"] == 2022, bad_column] = bad_value
    return frame.infer_objects()


FAULTS = {
    "no direct estimate": ("y", np.nan),
    "a variance of 0": ("vardir", 0.0),
    "a covariate that is missing": ("x", np.nan),
    "a covariate that is constant": ("x", 1.0),
}
MODELS = {
    "reml": sae.FayHerriot("y ~ x", per=("year",)),
    "bayes": sae.FayHerriot("y ~ x", per=("year",), method="bayes"),
    "jackknife": sae.FayHerriot("y ~ x", per=("year",), mse="jackknife"),
    "finite population": sae.FayHerriot("y ~ x", per=("year",), population="population"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("model", MODELS)
def test_a_bad_year_is_named_and_the_others_are_as_without_it(model, fault):
    frame, spec = panel(*FAULTS[fault]), MODELS[model]
    with pytest.raises(SaeInputError):
        spec.fit(frame)
    fit, refused = spec.fit_each(frame)
    assert list(refused) == [(2022,)]
    alone = spec.fit(frame[frame["year"] != 2022])
    for name in ("domain", "year", "estimate", "mse", "ci_low", "ci_high"):
        assert fit.estimates[name].tolist() == alone.estimates[name].tolist()


def test_a_size_that_is_missing_refuses_its_year_only():
    fit, refused = MODELS["finite population"].fit_each(panel("population", np.nan))
    assert list(refused) == [(2022,)] and "population" in refused[2022,].what
    assert len(fit.estimates) == 24


def test_where_no_fit_can_be_had_the_error_is_raised():
    with pytest.raises(SaeInputError):
        MODELS["reml"].fit_each(panel("x", 1.0).assign(x=1.0))
