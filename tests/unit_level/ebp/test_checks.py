"""A fit that does not give back its own units says so, and residuals in the place of the normal mend it."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError, SaeWarning
from sae.unit_level.ebp.checks import Comparison

TELLS = "does not give back the units"
D, EACH = 30, 20


def people(seed, tail="normal"):
    """Logarithmic incomes with areas; errors normal, or a fifth of them wide."""
    rng = np.random.default_rng(seed)
    n = D * EACH
    frame = pd.DataFrame({"area": np.repeat(np.arange(D), EACH).astype(str), "age": rng.normal(size=n)})
    e = rng.normal(size=n)
    if tail == "wide":
        e *= np.where(rng.uniform(size=n) < 0.15, 3.0, 0.45)
    effect = 0.2 * rng.normal(size=D)
    frame["y"] = np.exp(10.0 + 0.3 * frame["age"] + np.repeat(effect, EACH) + 0.5 * e)
    return frame


def fitted(frame, data=None, **options):
    spec = sae.EBP(
        "y ~ age",
        domain="area",
        transform="log",
        threshold=0.6 * float(frame["y"].median()),
        **{"indicators": ["mean", "head_count", "gap", "gini"], "mse": "none", "draws": 2, **options},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        return spec.fit(frame if data is None else data, areas=frame[["area", "age"]], seed=1)


def told(fit):
    return [message.text for message in fit.messages if TELLS in message.text]


def test_silent_where_the_model_is_true():
    """40 samples and 4 figures of a level of 1 % each: 8 at least by chance have less than 1 in 10,000."""
    assert sum(bool(told(fitted(people(seed)))) for seed in range(40)) <= 5


def test_speaks_where_the_tail_is_another():
    spoken = [told(fitted(people(seed, "wide"))) for seed in range(5)]
    assert all(spoken)
    assert all('errors="empirical"' in text for (text,) in spoken)
    fit = fitted(people(0, "wide"))
    assert TELLS in fit.summary()
    overall = fit.provenance["overall"]
    assert set(overall) == {"mean", "head_count", "gap", "gini"}
    frame = people(0, "wide")
    poor = float((frame["y"] < 0.6 * frame["y"].median()).mean())
    assert overall["head_count"]["units"] == pytest.approx(poor)
    assert overall["head_count"]["units_se"] == pytest.approx(np.sqrt(poor * (1 - poor) / 599), rel=1e-3)


@pytest.mark.parametrize("errors", ["empirical", "heteroscedastic"])
def test_residuals_mend_it(errors):
    for seed in range(3):
        frame = people(seed, "wide")
        normal, other = (
            fitted(frame).provenance["overall"],
            fitted(frame, errors=errors).provenance["overall"],
        )
        apart = [abs(one["head_count"]["fit"] - one["head_count"]["units"]) for one in (normal, other)]
        assert apart[1] < 0.35 * apart[0]


def test_weights_of_a_survey_count():
    frame = people(1, "wide").assign(w=lambda f: np.where(f["age"] > 0, 3.0, 1.0))
    survey = sae.Survey.from_frame(frame, weights="w")
    units = fitted(frame, survey).provenance["overall"]["head_count"]["units"]
    poor = frame["y"] < 0.6 * frame["y"].median()
    assert units == pytest.approx(float(np.average(poor, weights=frame["w"])))


def test_empirical_errors_in_the_table():
    frame = people(1, "wide")
    options = {"indicators": ["mean", "head_count"], "mse": "auto", "replicates": 30}
    normal = fitted(frame, **options).to_frame()
    for errors in ("empirical", "heteroscedastic"):
        fit = fitted(frame, errors=errors, **options)
        table = fit.to_frame()
        assert np.isfinite(table["se"]).all() and (table["se"] > 0).all()
        assert not np.allclose(table["estimate"], normal["estimate"], rtol=1e-3)
        assert errors in fit.provenance["model"] and f"{errors} errors" in table["method"].iloc[0]
        assert sae.EBP.from_toml(fit.spec.to_toml()) == fit.spec


def test_refused_with_methods_that_are_normal():
    for method in ("bayes", "ell"):
        with pytest.raises(SaeSpecError, match="has no meaning with method"):
            sae.EBP("y ~ x", domain="a", indicators="mean", method=method, errors="empirical")


@pytest.mark.slow
def test_clusters_have_their_standard_error():
    """Differences of 30 samples over theirs: a standard deviation of 1 within .13, 4 figures.

    Taken for independent, units would make those of a mean and a Gini half as large.
    """
    z: dict[str, list[float]] = {}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        frame = people(seed).assign(psu=np.repeat(np.arange(D * 4), EACH // 4).astype(str))
        frame["y"] *= np.exp(np.repeat(0.6 * rng.normal(size=D * 4), EACH // 4))
        for name, one in fitted(frame, clusters="psu").provenance["overall"].items():
            z.setdefault(name, []).append((one["fit"] - one["units"]) / one["se"])
    for values in z.values():
        assert 0.65 < np.std(values) < 1.45


def test_where_everybody_is_poor_rounding_is_no_misfit():
    assert not Comparison("head_count", 1.0 - 2e-16, 1.0, 0.0, 0.0).apart
    assert Comparison("head_count", 0.99, 1.0, 0.0, 0.0).apart
