"""ELL on the population of an EBP: synthetic, named as a reference, and less efficient than the EBP."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError, SaeWarning

NAMES = [f"{d:02d}" for d in range(20)]


def people(seed=1, each=60, areas=NAMES):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"city": np.repeat(areas, each), "age": rng.integers(20, 65, each * len(areas))})
    effect = frame["city"].map(pd.Series(0.3 * rng.normal(size=len(areas)), areas))
    frame["income"] = np.exp(9.0 + 0.01 * frame["age"] + effect + 0.4 * rng.normal(size=len(frame)))
    return frame


def spec(**options):
    options = {"indicators": ["mean", "head_count", "gini"], "threshold": 9000.0, "draws": 100, **options}
    return sae.EBP("income ~ age", domain="city", transform="log", **options)


def fitted(frame, n=15, **options):
    sample = frame[frame["city"] != NAMES[-1]].groupby("city").head(n)
    return spec(**options).fit(sample, areas=frame[["city", "age"]], seed=1)


def test_a_reference_says_what_it_is():
    with pytest.warns(SaeWarning, match="ELL is a reference"):
        fit = fitted(people(), method="ell")
    assert set(fit.estimates["mse_method"]) == {"ELL, 100 draws"}
    assert set(fit.estimates["method"]) == {"ELL, REML"}
    assert (fit.estimates["gamma"] == 0.0).all() and fit.summary().startswith("EBP (log, ELL)")
    assert fit.provenance["seed"] == 1 and 'method = "ell"' in fit.provenance["model"]
    assert "drawn anew; ELL, 100 draws" in repr(spec(method="ell"))
    assert sae.EBP.from_toml(spec(method="ell").to_toml()) == spec(method="ell")
    np.testing.assert_allclose(fit.joint.mse(), fit.estimates["mse"], rtol=1e-9)
    assert fit.diagnostics["likelihood"].iloc[0] == "restricted"


@pytest.mark.filterwarnings("ignore:ELL is a reference")
def test_areas_with_and_without_a_sample_are_alike():
    fit = fitted(people(), method="ell").to_frame()
    heads = fit[fit["indicator"] == "head_count"]
    ebp = fitted(people(), replicates=2).to_frame()
    ebp = ebp[ebp["indicator"] == "head_count"]
    assert heads["estimate"].std() < 0.3 * ebp["estimate"].std()  # only age differs
    assert heads["se"].max() < 1.5 * heads["se"].min()
    assert heads["n"].iloc[-1] == 0


@pytest.mark.filterwarnings("ignore:ELL is a reference")
def test_the_ebp_of_the_same_fit_has_the_smaller_error():
    """10 populations, areas of 15 units, σu 0.3 against σe 0.4: the EBP's squared error is far below."""
    squares = {"ell": [], "reml": []}
    hits = []
    for seed in range(10):
        frame = people(seed)
        truth = (frame["income"] < 9000.0).groupby(frame["city"]).mean().to_numpy()[:-1]
        for method, errors in squares.items():
            fit = fitted(frame, method=method, indicators=["head_count"], draws=50, replicates=2).to_frame()
            errors.append(((fit["estimate"].to_numpy()[:-1] - truth) ** 2).mean())
            if method == "ell":
                inside = (fit["ci_low"].to_numpy()[:-1] <= truth) & (truth <= fit["ci_high"].to_numpy()[:-1])
                hits.append(inside.mean())
    assert np.mean(squares["reml"]) < 0.4 * np.mean(squares["ell"])
    assert np.mean(hits) > 0.9  # its MSE is right on average over areas: that of a synthetic predictor


@pytest.mark.parametrize(
    ("options", "text"),
    [({"mse": "wild"}, "mse='wild' has no meaning"), ({"linked": "id"}, "does not know the sample")],
)
def test_options_without_meaning_are_refused(options, text):
    with pytest.raises(SaeSpecError, match=text):
        spec(method="ell", **options)
    with pytest.raises(SaeSpecError, match="ELL comes from simulated populations"):
        spec(method="ell").fit(people(), areas=people())
