"""MultivariateFayHerriot on published tables: US states by nativity, Spanish domains by labour status."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot
from sae.area_level.multivariate.model import MultivariateFayHerriot
from sae.errors import BoundaryVarianceWarning, ExtrapolationWarning, SaeInputError

SAME_MODEL = 1e-6  # one model in other coordinates, climbed on another path


@pytest.fixture(scope="module")
def states(shared_data):
    """States in 2018: employment of native and foreign-born persons, and of all residents everywhere."""
    path = shared_data / "real" / "us_acs1_state_nativity_2010_2018.csv.gz"
    long = pd.read_csv(path, dtype={"state_fips": str})
    long = long[(long["year"] == 2018) & long["indicator"].isin(["employed_16plus", "poverty_below_100pct"])]
    wide = long.pivot(
        index=["state_fips", "state_name"], columns=["group", "indicator"], values=["estimate", "se"]
    )
    employed = "employed_16plus"
    return pd.DataFrame(
        {
            "native": wide["estimate", "native", employed],
            "foreign": wide["estimate", "foreign_born", employed],
            "v_native": wide["se", "native", employed] ** 2,
            "v_foreign": wide["se", "foreign_born", employed] ** 2,
            "all": wide["estimate", "all_residents", employed],
            "poor": wide["estimate", "all_residents", "poverty_below_100pct"],
        }
    ).reset_index()


@pytest.fixture(scope="module")
def by_state(states):
    # the tables publish no covariance between the two groups: different persons, taken as independent
    model = MultivariateFayHerriot(
        ["native ~ all", "foreign ~ all + poor"],
        domain="state_name",
        vardir={"native": "v_native", "foreign": "v_foreign", ("native", "foreign"): 0},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryVarianceWarning)
        warnings.simplefilter("ignore", ExtrapolationWarning)
        return model.fit(states)


def test_unpublished_states_are_predicted(states, by_state):
    table = by_state.to_frame()
    assert len(table) == 104
    out = table[~table["in_sample"].astype(bool)]
    assert len(out) == 16  # eight states publish neither group in 2018
    assert set(out["domain"]) == set(states.loc[states["foreign"].isna(), "state_name"])
    assert out[["estimate", "mse", "ci_low", "ci_high"]].notna().all(axis=None)
    assert out["estimate"].between(45, 80).all()
    sampled = table[table["in_sample"].astype(bool)]
    foreign = sampled[sampled["indicator"] == "foreign"]
    assert (foreign["se"] < foreign["direct_se"] * 1.001).mean() > 0.9
    assert out.loc[out["indicator"] == "foreign", "se"].min() > foreign["se"].median()


def test_gap_of_the_states(by_state):
    gap = by_state.contrast({"foreign": 1, "native": -1}, name="gap").to_frame()
    assert len(gap) == 52
    inside = gap["in_sample"].astype(bool)
    assert inside.sum() == 44
    assert (gap.loc[inside, "se"] < gap.loc[inside, "direct_se"]).mean() > 0.9
    assert gap["interval"].str.startswith("posterior").all()  # 44 states
    assert ((gap["ci_low"] < gap["estimate"]) & (gap["estimate"] < gap["ci_high"])).all()


def test_an_unpublished_component_gains_from_the_published_one(states):
    """Hide the foreign-born of every state in turn: the native figure of the state helps to predict them."""
    published = states[states["foreign"].notna()].reset_index(drop=True)
    model = MultivariateFayHerriot(
        ["native ~ poor", "foreign ~ poor"],
        domain="state_name",
        vardir={"native": "v_native", "foreign": "v_foreign", ("native", "foreign"): 0},
    )
    plain = FayHerriot("foreign ~ poor", domain="state_name", vardir="v_foreign")
    errors = []
    hidden = published.copy()
    half = np.arange(len(hidden)) % 2 == 0
    for chosen in (half, ~half):
        hidden = published.assign(foreign=published["foreign"].where(~chosen))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = model.fit(hidden).to_frame().query("indicator == 'foreign'")["estimate"].to_numpy()
            theirs = plain.fit(hidden).to_frame()["estimate"].to_numpy()
        truth = published["foreign"].to_numpy()
        errors.append([((e - truth)[chosen] ** 2).sum() for e in (ours, theirs)])
    ours, theirs = np.sqrt(np.sum(errors, axis=0) / len(published))
    assert ours < theirs


@pytest.fixture(scope="module")
def spain(shared_data):
    frame = pd.read_csv(shared_data / "real" / "es_epa2022_domain_direct_multivariate.csv")
    frame = frame[frame["Age"] < 3].reset_index(drop=True)  # the authors' 208 domains
    keys = frame[["Prov", "Age", "Sex"]].astype(str)
    return frame.assign(domain=keys.agg(" / ".join, axis=1), age=keys["Age"], sex=keys["Sex"])


def spanish(*shares, **options):
    columns = {f"Y{k}": f"varY{k}" for k in shares}
    columns |= {(f"Y{j}", f"Y{k}"): f"covY{j}Y{k}" for j in shares for k in shares if j < k}
    formulas = [f"Y{k} ~ age + sex + nac2_MEAN + edu3_MEAN" for k in shares]
    return MultivariateFayHerriot(formulas, vardir=columns, **options)


def test_three_shares_that_add_up_are_refused_by_their_constraint(spain):
    with pytest.raises(SaeInputError, match=r"208 of 208 areas are singular.*Y1 \+ Y2 \+ Y3 = 1") as error:
        spanish(1, 2, 3).fit(spain)
    assert "fit.contrast({'Y1': -1, 'Y2': -1}, constant=1)" in error.value.hint


def test_any_two_shares_give_the_same_third(spain):
    """With any covariance of the effects and the same covariates, which share is left out does not matter."""
    a, b = spanish(1, 2).fit(spain), spanish(1, 3).fit(spain)
    third, own = a.contrast({"Y1": -1, "Y2": -1}, constant=1).to_frame(), b.contrast({"Y3": 1}).to_frame()
    for name in ("estimate", "mse", "ci_low", "ci_high", "direct", "direct_se"):
        # direct variances are published to seven digits
        np.testing.assert_allclose(third[name], own[name], rtol=SAME_MODEL if "direct" not in name else 1e-5)
    sums = a.to_frame()["estimate"].to_numpy().reshape(-1, 2).sum(axis=1) + third["estimate"]
    np.testing.assert_allclose(sums, 1.0, rtol=1e-14)


def test_spanish_domains_gain_from_the_model(spain):
    fit = spanish(1, 2).fit(spain)
    table = fit.to_frame()
    assert len(table) == 416
    assert table["interval"].eq("t on the MSE").all()
    assert table["estimate"].between(0, 1).all()
    assert table["se"].median() < 0.8 * table["direct_se"].median()
    again = spanish(1, 2, structure="diagonal").fit(spain)
    assert again.diagnostics["loglik"].iloc[0] < fit.diagnostics["loglik"].iloc[0]


def test_domains_of_zero_variance_are_named(shared_data):
    frame = pd.read_csv(shared_data / "real" / "es_epa2022_domain_direct_multivariate.csv")
    frame["domain"] = frame[["Prov", "Age", "Sex"]].astype(str).agg(" / ".join, axis=1)
    model = MultivariateFayHerriot("Y2 ~ nac2_MEAN", vardir={"Y2": "varY2"})
    with pytest.raises(SaeInputError, match="71 of 312 areas have a sampling variance that is not positive"):
        model.fit(frame)
