"""Unit-level logit model from frames to results: limits, names, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.unit_level import LogitMixed

SAME = 0.02  # deviations: both engines weigh 4096 points, quantiles are drawn


def country(seed=1, areas=12):
    rng = np.random.default_rng(seed)
    city = np.repeat([f"c{k:02d}" for k in range(areas)], rng.integers(4, 30, areas))
    u = dict(zip(np.unique(city), 0.6 * rng.normal(size=areas), strict=True))
    units = pd.DataFrame(
        {"city": city, "old": rng.integers(0, 2, len(city)), "x": rng.integers(0, 4, len(city))}
    )
    eta = -0.4 + 0.7 * units["old"] - 0.3 * units["x"] + units["city"].map(u)
    units["employed"] = rng.binomial(1, expit(eta.to_numpy(float)))
    names = [*np.unique(city), "zz"]  # zz has no sample
    cells = pd.DataFrame(
        [(c, o, x) for c in names for o in (0, 1) for x in range(4)], columns=["city", "old", "x"]
    )
    return units, cells.assign(N=rng.integers(5, 90, len(cells)))


@pytest.fixture(scope="module")
def fitted():
    units, cells = country()
    return LogitMixed("employed ~ old + x", domain="city", population="N").fit(units, areas=cells)


def test_the_table_has_every_area(fitted):
    table = fitted.to_frame()
    assert list(table["domain"])[-1] == "zz" and not table["in_sample"].iloc[-1]
    assert table["estimate"].between(0, 1).all() and (table["ci_low"] < table["ci_high"]).all()
    assert np.isnan(table["direct"].iloc[-1])
    assert (
        set(table["prior"]) == {fitted.estimates["prior"].iloc[0]} and "half-normal" in table["prior"].iloc[0]
    )
    assert fitted.diagnostics["k_hat"].iloc[0] < 0.5
    assert "Unit-level logit" in str(fitted.summary())
    assert fitted.residuals["standardised"].abs().max() < 5 and len(fitted.residuals) == 12
    assert len(fitted.loo()) == 12
    assert fitted.draws(50, seed=1).values.shape == (50, 13)


def test_one_cell_per_area_is_the_area_level_model():
    """BinomialMixed integrates on its own grids; the model is the same."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"area": [f"a{k:02d}" for k in range(15)], "x": rng.normal(size=15), "n": rng.integers(5, 40, 15)}
    )
    p = expit(-0.3 + 0.5 * frame["x"] + 0.5 * rng.normal(size=15))
    frame["y"] = rng.binomial(frame["n"], p)
    frame.loc[14, ["y", "n"]] = 0
    theirs = sae.BinomialMixed("y ~ x", domain="area").fit(frame)
    ours = LogitMixed("y ~ x", domain="area", trials="n").fit(frame, areas=frame[["area", "x"]])
    a, b = ours.to_frame(), theirs.to_frame()
    assert a["prior"].tolist() == b["prior"].tolist()
    for column in ("estimate", "ci_low", "ci_high"):
        tolerance = SAME if column == "estimate" else 4 * SAME
        assert (np.abs(a[column] - b[column]) / b["se"]).max() < tolerance, column
    np.testing.assert_allclose(a["se"], b["se"], rtol=SAME)
    np.testing.assert_allclose(ours.coefficients["coef"], theirs.coefficients["coef"], atol=SAME * 0.2)
    np.testing.assert_allclose(
        ours.variance_components["sigma_u"], theirs.variance_components["sigma_u"], rtol=SAME
    )


def test_units_in_any_order_or_summed_are_the_same(fitted):
    units, cells = country()
    spec = LogitMixed("employed ~ old + x", domain="city", population="N")
    shuffled = spec.fit(units.sample(frac=1, random_state=1), areas=cells)
    pd.testing.assert_frame_equal(
        fitted.to_frame().drop(columns="run"), shuffled.to_frame().drop(columns="run")
    )
    moved = spec.fit(units, areas=cells.sample(frac=1, random_state=2))  # sums round otherwise
    one, other = fitted.to_frame().set_index("domain"), moved.to_frame().set_index("domain")
    assert (np.abs(one["estimate"] - other["estimate"].reindex(one.index)) / one["se"]).max() < SAME
    summed = units.groupby(["city", "old", "x"], as_index=False)["employed"].agg(["sum", "size"])
    counts = LogitMixed("sum ~ old + x", domain="city", trials="size", population="N").fit(
        summed, areas=cells
    )
    np.testing.assert_allclose(one["estimate"].to_numpy(), counts.to_frame()["estimate"], rtol=1e-12)


def test_a_census_of_people_is_its_cells(fitted):
    units, cells = country()
    people = cells.loc[cells.index.repeat(cells["N"]), ["city", "old", "x"]]
    found = LogitMixed("employed ~ old + x", domain="city").fit(units, areas=people)
    np.testing.assert_allclose(found.to_frame()["estimate"], fitted.to_frame()["estimate"], rtol=1e-12)
    np.testing.assert_allclose(found.areas["population"], cells.groupby("city")["N"].sum())


def test_without_covariates_no_population_is_needed():
    units, _ = country()
    found = LogitMixed("employed ~ 1", domain="city").fit(units)
    assert len(found.to_frame()) == 12


def test_areas_of_few_people_are_named(fitted):
    """Their share has a variance P (1 - P) / N beside that of P."""
    table, (text,) = fitted.to_frame(), [m.text for m in fitted.messages if "to be expected" in m.text]
    units, cells = country()
    people = cells.groupby("city")["N"].sum().reindex(table["domain"]).to_numpy()
    p, sd = table["estimate"].to_numpy(dtype=float), table["se"].to_numpy(dtype=float)
    few = table["domain"][p * (1 - p) / people > 0.1 * sd**2]
    assert f"In {len(few)} of 13 areas" in text and few.iloc[0] in text
    many = LogitMixed("employed ~ old + x", domain="city", population="N").fit(
        units, areas=cells.assign(N=100 * cells["N"])
    )
    none = LogitMixed("employed ~ 1", domain="city").fit(units)
    assert not [m for fit in (many, none) for m in fit.messages if "to be expected" in m.text]


def refused(what, units, cells, formula="employed ~ old + x", **options):
    options = {"domain": "city", "population": "N"} | options
    with pytest.raises(SaeInputError, match=what) as caught:
        LogitMixed(formula, **options).fit(units, areas=cells)
    return caught.value


def test_what_cannot_be_used_is_refused_by_name():
    units, cells = country()
    refused("c03", units, cells[cells["city"] != "c03"])
    refused("old", units.drop(columns="old"), cells)
    refused("old", units, cells.drop(columns="old"))
    refused("old", units, None)
    refused("row 3 .2.", units.assign(employed=units["employed"].where(units.index != 2, 2)), cells)
    refused("employed is missing", units.assign(employed=units["employed"].where(units.index != 2)), cells)
    refused("zz", units, cells.assign(N=cells["N"].where(cells["city"] != "zz", 0)))
    refused(
        "city is missing in 1 of 104 rows of the areas: row 1",
        units,
        cells.assign(city=cells["city"].where(cells.index > 0)),
    )
    refused("N", units, cells.drop(columns="N"))
    refused("trials m", units.assign(m=0.5), cells, trials="m")


def test_separated_outcomes_are_refused_by_name():
    units, cells = country()
    units["always"], cells["always"] = units["employed"], 0
    refused("along .*always", units, cells, "employed ~ old + always")
    refused("along Intercept", units.assign(employed=1), cells, "employed ~ 1")


def test_a_flat_prior_needs_areas_with_both_outcomes():
    units, cells = country()
    few = units[units["city"].isin(["c00", "c01"])]
    refused("flat", few, cells, "employed ~ old", prior="flat-variance")


def test_the_specification_is_checked_and_written():
    spec = LogitMixed("employed ~ old", domain="city", population="N", prior="half-cauchy(1)")
    assert LogitMixed.from_toml(spec.to_toml()) == spec
    with pytest.raises(SaeSpecError):
        LogitMixed("employed ~ old", level=1.5)
