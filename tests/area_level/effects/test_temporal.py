"""Components over time through the door of their models: units, gaps, texts of model files."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning


def waves(rng, periods, areas=12):
    frame = pd.MultiIndex.from_product([[f"a{k}" for k in range(areas)], periods], names=["domain", "period"])
    frame = frame.to_frame(index=False)
    x = rng.normal(size=len(frame))
    return frame.assign(x=x, y=1 + x + rng.normal(size=len(frame)), vardir=0.3)


def fit(frame, temporal, **options):
    options = {"replicates": 5, **options}
    return sae.FayHerriot("y ~ x", temporal=temporal, **options).fit(frame, seed=1)


def test_a_quarter_is_one_step_however_it_is_written(rng):
    columns = {
        "code": ([20203, 20204, 20211], "quarter"),
        "text": (["2020Q3", "2020Q4", "2021Q1"], None),
        "count": ([1, 2, 3], None),
        "start": (["2020-07-01", "2020-10-01", "2021-01-01"], "quarter"),
    }
    frame, estimates = waves(rng, [0, 1, 2]), {}
    for name, (values, unit) in columns.items():
        named = frame.assign(period=frame["period"].map(dict(enumerate(values))))
        result = fit(named, sae.AR1("period", unit=unit))
        estimates[name] = result.variance_components["rho_v"], result.estimates["estimate"].to_numpy()
    for rho, values in estimates.values():
        assert rho == pytest.approx(estimates["count"][0], rel=1e-12)
        np.testing.assert_allclose(values, estimates["count"][1], rtol=1e-12)


@pytest.mark.parametrize("codes", [[20203, 20204, 20211], [202011, 202012, 202101], [20201231, 20210101]])
@pytest.mark.parametrize("component", [sae.AR1, sae.RW1])
def test_codes_without_a_unit_are_refused_before_work_starts(rng, codes, component):
    with pytest.raises(SaeInputError, match="Say their unit") as error:
        fit(
            waves(rng, codes),
            component("period"),
            method="bayes" if component is sae.RW1 else "reml",
            replicates=200,
        )
    assert error.value.column == "period"


def test_gaps_are_named_and_bounded(rng):
    with pytest.warns(SaeWarning, match=r"1 of 4 periods .* missing: 2021Q1"):
        result = fit(waves(rng, ["2020Q3", "2020Q4", "2021Q2"]), sae.AR1("period"))
    assert "2021Q1" in result.summary()
    with pytest.raises(SaeInputError, match="in 3500 steps of 2 days"):
        fit(waves(rng, ["2001-01-01", "2011-07-04", "2020-02-29"]), sae.AR1("period"))


def test_the_unit_in_a_model_file():
    for component in (
        sae.AR1("wave", unit="month"),
        sae.AR1("wave", rho=0.0, covariance="lag", unit="quarter"),
        sae.RW1("wave", unit="year"),
        sae.RW2("wave", "lag"),
    ):
        assert type(component).of_text(component.text) == component
        spec = sae.FayHerriot("y ~ x", temporal=component, method="bayes")
        assert sae.FayHerriot(**{k: v for k, v in spec.to_dict().items() if k != "kind"}) == spec
    with pytest.raises(SaeSpecError, match="quarter"):
        sae.AR1("wave", unit="quater")
    for text in ("ar1: wave, rho x", "ar1: wave, units month", "ar1: ", "rw1: wave, rho 0"):
        with pytest.raises(SaeSpecError):
            sae.FayHerriot("y ~ x", temporal=text, method="bayes")


def test_a_fixed_correlation_is_refused_where_it_would_be_estimated():
    with pytest.raises(SaeSpecError, match="this model estimates rho"):
        sae.InflatedBetaFayHerriot("y ~ x", temporal=sae.AR1("year", rho=0.0))


def test_periods_as_text_and_as_numbers_are_named(rng):
    frame = waves(rng, [2020, 2021])
    frame["period"] = [str(v) if k % 3 == 0 else v for k, v in enumerate(frame["period"])]
    with pytest.raises(SaeInputError, match="2020, 2021 as text and as numbers"):
        fit(frame, sae.AR1("period"))
