"""Years of which no survey knows anything: rows all the same, labelled, with wider intervals that hold.

Ten panels of 40 areas with one year of no direct estimate make 400 gap rows, whose intervals share the
coefficients of their panel: the share that holds is known to about 2 points (4 with two panels).
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import Covariates, Origin

YEARS = [str(year) for year in range(2015, 2022)]
GAP = "2018"


def panel(seed, areas=40, rho=0.7):
    """Truth, covariate and direct estimate of a panel whose area effects are AR(1), a walk for `rho` = 1."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, 0.02, areas)
    rows = []
    for year in YEARS:
        x = rng.random(areas)
        truth = 0.4 + 0.2 * x + effect
        rows.append(
            pd.DataFrame({"year": year, "x": x, "truth": truth, "y": truth + rng.normal(0, 0.02, areas)})
        )
        effect = rho * effect + rng.normal(0, 0.02 * np.sqrt(1 - 0.7**2), areas)
    frame = pd.concat(rows, ignore_index=True).assign(vardir=0.0004)
    return frame.assign(city=[f"C{k % areas:02d}" for k in range(len(frame))])


def fitted(frame, model, seed):
    """Fit without the direct estimates of the gap year, and with the covariates of every year."""
    known = frame.loc[frame["year"] != GAP, ["city", "year", "y", "vardir"]]
    fit = model.fit(known, areas=frame[["city", "year", "x"]], seed=seed)
    table = fit.to_frame().merge(frame, left_on=["domain", "time"], right_on=["city", "year"])
    width = table["ci_high"] - table["ci_low"]
    holds = (table["ci_low"] <= table["truth"]) & (table["truth"] <= table["ci_high"])
    return fit, table.assign(width=width, holds=holds)


@pytest.mark.parametrize(
    ("temporal", "rho", "panels", "least"), [(sae.AR1("year"), 0.7, 2, 0.83), (sae.RW1("year"), 1, 10, 0.89)]
)
def test_gap_years_have_rows_with_wider_intervals_that_hold(temporal, rho, panels, least):
    model = sae.FayHerriot("y ~ x", domain="city", temporal=temporal, method="bayes")
    tables = []
    for seed in range(panels):
        fit, table = fitted(panel(seed, rho=rho), model, seed)
        gap = table["time"] == GAP
        assert (
            gap.sum() == 40
            and not table.loc[gap, "in_sample"].any()
            and table.loc[gap, "direct"].isna().all()
        )
        width = table.groupby("time")["width"].mean()
        assert width[GAP] > 1.05 * width[["2017", "2019"]].max()
        tables.append(table[gap])
    assert "40 without sample" in fit.summary()
    assert f"note: No area has a direct estimate in {GAP}" in fit.summary()
    held = pd.concat(tables)["holds"].mean()
    assert least < held < 0.995


def test_the_eblup_has_them_too():
    model = sae.FayHerriot("y ~ x", domain="city", temporal=sae.AR1("year"), replicates=50)
    fit, table = fitted(panel(1, areas=12), model, 1)
    width = table.groupby("time")["width"].mean()
    assert width[GAP] > width[["2017", "2019"]].max()
    assert any(message.text.startswith(f"No area has a direct estimate in {GAP}") for message in fit.messages)


def test_an_empty_cell_is_the_same_as_no_row():
    frame = panel(1, areas=12)
    model = sae.FayHerriot("y ~ x", domain="city", temporal=sae.RW1("year"), method="bayes")
    _, table = fitted(frame, model, 1)
    empty = frame.assign(y=frame["y"].where(frame["year"] != GAP)).drop(columns="truth")
    again = model.fit(empty, seed=1).to_frame().set_index(["domain", "time"])["estimate"]
    order = table.set_index(["domain", "time"]).index
    np.testing.assert_allclose(again[order], table["estimate"], rtol=1e-12)


def test_a_gap_year_of_a_survey_with_the_figures_of_a_census():
    """From records: the census of 2011 stands beside every year and is labelled, 2023 has no survey."""
    land = sae.datasets.country(seed=3, regions=12)
    parts = [land.lfs(year).frame.assign(year=str(year)) for year in (2021, 2022, 2024, 2025)]
    records = pd.concat(parts, ignore_index=True)
    for name in ("region", "psu"):
        records[f"{name}_year"] = records[name].astype(str) + " " + records["year"]
    survey = sae.Survey.from_frame(
        records, weights="weight", strata="region_year", psu="psu_year", time="year"
    )
    direct = sae.direct(survey, "employment_rate", by=["region", "year"])
    years = [str(year) for year in range(2021, 2026)]
    frame = pd.concat([land.areas[["region", "share_tertiary"]].assign(year=year) for year in years])
    census = Origin("Census", "persons with a tertiary degree", dict.fromkeys(years, "2011"))
    model = sae.FayHerriot("employment_rate ~ share_tertiary", temporal=sae.AR1("year"), method="bayes")
    fit = model.fit(direct, areas=Covariates(frame, {"share_tertiary": census}), seed=1)
    table = fit.to_frame()
    gap = table[table["time"] == "2023"]
    assert len(gap) == 12 and not gap["in_sample"].any() and (gap["n"] == 0).all()
    assert gap["se"].mean() > table.loc[table["time"] != "2023", "se"].mean()
    assert (
        "2011 for 2021, 2011 for 2022" in fit.summary() and "10 to 14 years before the data" in fit.summary()
    )
