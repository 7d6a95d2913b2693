"""`FayHerriot` with spatial and temporal components and method="bayes": names, tables, refusals."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError

MOMENTS = 1e-7  # the table against the posterior it was made of
Z = 4.5


@pytest.fixture
def country(rng):
    """Sixteen areas on a grid of four by four, an island among them, three without an estimate."""
    names = [f"A{k:02d}" for k in range(16)]
    edges = [(k, k + 1) for k in range(16) if k % 4 != 3] + [(k, k + 4) for k in range(12)]
    edges = pd.DataFrame([(names[a], names[b]) for a, b in edges if 15 not in (a, b)], columns=["a", "b"])
    x = rng.normal(size=16)
    y = 1.0 + x + rng.normal(size=16)
    frame = pd.DataFrame({"area": names, "y": y, "vardir": 0.3, "x": x})
    frame.loc[[2, 7, 11], "y"] = np.nan
    return frame, edges


@pytest.fixture
def panel(country, rng):
    frame, edges = country
    years = pd.concat([frame.assign(year=2020 + t) for t in range(4)], ignore_index=True)
    years["y"] = years["y"] + 0.5 * rng.normal(size=len(years))
    return years.drop(index=[5, 21]).sample(frac=1.0, random_state=1), edges


def model(**given):
    return sae.FayHerriot("y ~ x", domain="area", method="bayes", **given)


@pytest.mark.parametrize("component", [sae.BYM2, sae.Leroux, sae.CAR, sae.SAR, lambda e: sae.CAR(e, rho=1.0)])
def test_spatial_components_predict_every_area(country, component):
    frame, edges = country
    fit = model(spatial=component(edges)).fit(frame)
    table = fit.estimates.to_frame()
    assert len(table) == 16
    assert table["estimate"].notna().all()
    assert (table["ci_low"] < table["estimate"]).all()
    assert table["in_sample"].sum() == 13
    inside = table["in_sample"].to_numpy(dtype=bool)
    assert (table["se"][~inside].min() > table["se"][inside].min()).all()
    assert (table["gamma"][inside] > 0).all()
    assert (table["gamma"][~inside] == 0).all()
    assert table["prior"].iloc[0].startswith("sigma_u half-normal(")
    assert fit.diagnostics["quadrature_error"].iloc[0] < 1e-3
    assert fit.diagnostics["k_hat"].iloc[0] < 0.7
    assert "A15" in fit.provenance["warnings"][0]  # an island is named
    assert "sigma_u" in fit.variance_components
    assert "k-hat" in str(fit.summary())


@pytest.mark.parametrize("temporal", [sae.AR1("year", rho=0.0), sae.RW2("year")])
def test_temporal_components_alone(panel, temporal):
    frame, _ = panel
    fit = model(temporal=temporal).fit(frame)
    assert fit.estimates["estimate"].notna().all()
    names = [name for name in fit.variance_components.index if name.count("_") == 1]
    assert names == ["sigma2_u", "sigma2_v", "sigma_u", "sigma_v"]
    assert list(fit.estimates["time"]) == [str(year) for year in frame["year"]]


@pytest.mark.slow
@pytest.mark.parametrize("temporal", [sae.AR1("year"), sae.RW1("year")])
def test_spatial_and_temporal_components_add_up(panel, temporal):
    frame, edges = panel
    fit = model(temporal=temporal, spatial=sae.BYM2(edges)).fit(frame)
    assert {"sigma_u", "rho_u", "sigma_v"} <= set(fit.variance_components.index)
    assert "sigma_v half-normal" in fit.estimates["prior"].iloc[0]


def test_a_part_of_the_map_without_a_sample_is_told(country):
    frame, edges = country
    alone = frame.assign(y=frame["y"].where(frame["area"] != "A15"))
    assert "no finite variance" in model(spatial=sae.SAR(edges)).fit(alone).provenance["warnings"][-1]
    assert "no finite" not in str(model(spatial=sae.BYM2(edges)).fit(alone).provenance["warnings"])


def test_rows_are_matched_by_name(country):
    frame, edges = country
    first = model(spatial=sae.BYM2(edges)).fit(frame)
    mixed = frame.sample(frac=1.0, random_state=3)
    second = model(spatial=sae.BYM2(edges[["b", "a"]].iloc[::-1])).fit(mixed)
    order = [list(mixed["area"]).index(name) for name in frame["area"]]
    found = second.estimates["estimate"].to_numpy()[order]
    assert np.abs(found - first.estimates["estimate"].to_numpy()).max() < MOMENTS


def test_draws_are_those_of_the_table_and_of_the_seed(country):
    frame, edges = country
    fit = model(spatial=sae.Leroux(edges)).fit(frame)
    drawn = fit.draws(4000, seed=1).values
    estimate, se = (fit.estimates[name].to_numpy(dtype=float) for name in ("estimate", "se"))
    assert np.abs((drawn.mean(axis=0) - estimate) / se).max() < Z * np.sqrt(1.2 / 4000)
    assert (fit.draws(50, seed=1).values == drawn[:50]).all()


def test_specifications_are_text_and_come_back(tmp_path, country):
    frame, edges = country
    path = tmp_path / "edges.csv"
    edges.to_csv(path, index=False)
    for text in (f"bym2: {path.as_posix()}", f"leroux: {path.as_posix()}", f"car: {path.as_posix()}, rho 1"):
        spec = model(spatial=text, temporal=None)
        again = sae.FayHerriot.from_toml(spec.to_toml())
        assert again.spatial.text == spec.spatial.text == text
    assert model(temporal="rw2: year").temporal == sae.RW2("year")
    assert "exact posterior" in repr(model(spatial=f"bym2: {path.as_posix()}"))
    table = model(spatial=f"bym2: {path.as_posix()}").fit(frame).estimates["estimate"]
    same = model(spatial=sae.BYM2(edges)).fit(frame).estimates["estimate"]
    assert np.abs(table.to_numpy() - same.to_numpy()).max() < MOMENTS


def test_what_has_no_likelihood_estimate_is_refused_by_name(country):
    _, edges = country
    for given in (
        {"spatial": sae.BYM2(edges)},
        {"spatial": sae.Leroux(edges)},
        {"temporal": sae.RW1("year")},
    ):
        with pytest.raises(SaeSpecError, match="is estimated by Bayes only"):
            sae.FayHerriot("y ~ x", domain="area", **given)
    with pytest.raises(SaeSpecError, match="is no component"):
        model(spatial=3)
    with pytest.raises(SaeSpecError, match="rho is estimated"):
        sae.CAR(edges, rho=0.5)
    with pytest.raises(SaeSpecError, match="transform"):
        model(spatial=sae.BYM2(edges), transform="log")
    with pytest.raises(SaeSpecError, match="cannot be read"):
        model(temporal="rw1: year, rho 0")


def test_maps_and_periods_that_cannot_be_used_are_named(country, panel):
    frame, edges = country
    weights = pd.DataFrame(np.ones((3, 3)) - np.eye(3), index=list("abc"), columns=list("abc"))
    weights.loc["a", "b"] = 2.0
    small = pd.DataFrame({"area": list("abc"), "y": [1.0, 2.0, 4.0], "vardir": 1.0, "x": [1.0, 2.0, 0.0]})
    with pytest.raises(SaeInputError, match=r"differ in the two directions: a, b"):
        model(spatial=sae.Leroux(weights)).fit(small)
    with pytest.raises(SaeInputError, match="A00"):
        model(spatial=sae.BYM2(edges)).fit(frame.iloc[1:])
    two = panel[0][panel[0]["year"] < 2022]
    with pytest.raises(SaeInputError, match="needs at least 3 periods"):
        model(temporal=sae.RW2("year")).fit(two)


def test_an_improper_posterior_is_refused(country):
    frame, edges = country
    few = frame.copy()
    few.loc[4:, "y"] = np.nan
    with pytest.raises(SaeInputError, match="improper"):
        model(spatial=sae.BYM2(edges), prior="flat-variance").fit(few)
    assert model(spatial=sae.BYM2(edges)).fit(few).estimates["estimate"].notna().all()
