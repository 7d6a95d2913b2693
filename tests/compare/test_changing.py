"""Changes over periods: gaps in the series, breaks, coverage with panel overlap.

Tolerances: coverage within three standard errors of the simulation.
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.compare import changes
from sae.errors import SaeInputError, SaeSpecError


def series(**columns):
    frame = pd.DataFrame({"domain": ["a"] * 3 + ["b"] * 3, "time": ["2018", "2019", "2021"] * 2})
    return frame.assign(estimate=[0.5, 0.51, 0.6, 0.7, np.nan, 0.5], se=0.02, **columns)


def test_each_period_against_the_areas_period_before_with_gap_years_labelled():
    made = changes(series())
    assert made[["domain", "against", "time", "verdict", "missing"]].to_numpy().tolist() == [
        ["a", "2018", "2019", "cannot be told apart", ""],
        ["a", "2019", "2021", "rose", "2020"],
        ["b", "2018", "2021", "fell", "2019, 2020"],
    ]
    assert "periods without a figure in between: 2020" in made.summary()


def test_two_periods_given():
    made = changes(series(), "2018", 2021)
    np.testing.assert_allclose(made["estimate"], [0.1, -0.2])
    np.testing.assert_allclose(made["se"], 0.02 * np.sqrt(2.0))
    assert changes(series(), 2021, 2018)["verdict"].tolist() == ["fell", "rose"]
    with pytest.raises(SaeInputError, match="No estimate of the period 2022"):
        changes(series(), 2018, 2022)
    with pytest.raises(SaeInputError, match="1 areas lack one of the periods 2018 and 2021: b"):
        changes(series().head(5), 2018, 2021)
    with pytest.raises(SaeSpecError, match="both periods"):
        changes(series(), 2018)
    with pytest.raises(SaeSpecError, match="same period"):
        changes(series(), 2018, 2018)
    with pytest.raises(SaeSpecError, match="no periods"):
        changes(series().drop(columns="time").head(1))


def test_a_break_of_the_definition_is_refused_or_marked():
    frame = series(indicator="employment_rate")
    with pytest.raises(SaeInputError, match="lfs_2021") as error:
        changes(frame)
    assert "accept=['lfs_2021']" in str(error.value)
    made = changes(frame, accept="lfs_2021")
    assert made["breaks"].tolist() == ["", "lfs_2021", "lfs_2021"]
    assert "2 lie across a break" in made.summary()
    assert changes(frame[frame["time"] < "2021"])["breaks"].tolist() == [""]


def test_marks_of_a_table_are_breaks_between_its_rows():
    marked = ["v1", "v1", "v1; break own_2021"] * 2
    with pytest.raises(SaeInputError, match="own_2021"):
        changes(series(definition=marked))
    both = changes(series(definition=marked), accept=["own_2021"])
    assert both["breaks"].tolist() == ["", "own_2021", "own_2021"]
    with pytest.raises(SaeInputError, match="differ in definition"):
        changes(series(definition=["v1", "v1", "v2"] * 2))


def test_the_old_name_answers_with_the_new():
    with pytest.raises(AttributeError, match=r"sae.compare.changes\(fit, first, last\)"):
        sae.area_level.change  # noqa: B018


def test_direct_changes_cover_with_the_covariance_of_the_panel_and_not_without():
    """Two waves with correlation 0.7: 95 % with the covariance; without it the intervals are far too wide."""
    rng = np.random.default_rng(2)
    areas, se = 50, np.array([0.02, 0.025])
    covariance = np.kron(np.eye(areas), np.outer(se, se) * np.array([[1.0, 0.7], [0.7, 1.0]]))
    root = np.linalg.cholesky(covariance)
    frame = pd.DataFrame({"domain": np.repeat([f"A{k:02d}" for k in range(areas)], 2)})
    frame["time"] = ["2023", "2024"] * areas
    frame["se"] = np.tile(se, areas)
    frame = frame.assign(
        indicator="own",
        geo=frame["domain"],
        n=100,
        n_eff=90.0,
        df=np.inf,
        variance=frame["se"] ** 2,
        vardir=frame["se"] ** 2,
        status="ok",
    )
    index = pd.MultiIndex.from_frame(frame[["indicator", "domain", "time"]])
    labelled = pd.DataFrame(covariance, index=index, columns=index)
    truth = np.tile([0.6, 0.62], areas)
    inside = {True: [], False: []}
    for _ in range(20):
        table = frame.assign(estimate=truth + root @ rng.normal(size=2 * areas))
        for known in (True, False):
            direct = sae.DirectEstimates(table, ("domain",), labelled if known else None, {"own": "share"})
            made = changes(direct, "2023", "2024").frame
            inside[known].append(((made["ci_low"] <= 0.02) & (made["ci_high"] >= 0.02)).mean())
    share, error = np.mean(inside[True]), np.std(inside[True]) / np.sqrt(20)
    print(
        f"changes of direct estimates: {share:.4f} (se {error:.4f}), without covariance "
        f"{np.mean(inside[False]):.4f}"
    )
    assert abs(share - 0.95) < 3 * error
    assert np.mean(inside[False]) > 0.99


def test_a_model_over_time_gives_the_dense_matrix():
    rng = np.random.default_rng(3)
    domain = np.repeat([f"A{k:02d}" for k in range(60)], 3)
    frame = pd.DataFrame({"domain": domain, "year": [2020, 2021, 2022] * 60})
    frame["y"] = np.repeat(rng.normal(size=60), 3) + rng.normal(size=180)
    spec = sae.FayHerriot("y ~ 1", temporal=sae.AR1("year"), replicates=20)
    fit = spec.fit(frame.assign(vardir=0.5), seed=1)
    made, joint = changes(fit), fit.joint.covariance()
    assert len(made) == 120
    rows = fit.estimates.frame.reset_index().set_index(["domain", "time"])["index"]
    one = rows.loc[list(zip(made["domain"], made["time"], strict=True))].to_numpy()
    other = rows.loc[list(zip(made["domain"], made["against"], strict=True))].to_numpy()
    variance = joint[one, one] + joint[other, other] - 2 * joint[one, other]
    np.testing.assert_allclose(made["se"], np.sqrt(variance), rtol=1e-9)
    assert made["missing"].eq("").all()
    figure = changes(fit, 2020, 2022).plot()
    assert "against 2020" in figure.get_suptitle()


def by_citizenship(*vintages):
    """Shares of EU citizens as Eurostat codes them: another code from another composition of the EU on."""
    rows = [
        {"domain": "AT", "citizen": code.format(vintage), "time": year, "estimate": 0.5 + k / 20, "se": 0.01}
        for k, (year, vintage) in enumerate(vintages)
        for code in ("EU{}_FOR", "NEU{}_FOR", "NAT")
    ]
    return pd.DataFrame(rows)


def test_groups_of_another_composition_of_the_eu_are_a_break_and_not_other_groups():
    frame = by_citizenship(("2018", "28"), ("2019", "28"), ("2020", "27_2020"))
    direct = sae.EstimateTable(frame.assign(indicator="own"), ("domain", "citizen"))
    with pytest.raises(SaeInputError, match=r"eu28_to_eu27_2020 \(EU28 in side 2, EU27_2020 in side 1\)"):
        changes(direct)
    made = changes(direct, accept="eu28_to_eu27_2020")
    across = made.frame[made["time"].eq("2020")]
    assert across["citizen"].tolist() == ["EU27_2020_FOR", "NEU27_2020_FOR", "NAT"]
    assert across["breaks"].tolist() == ["eu28_to_eu27_2020"] * 2 + [""]
    assert len(made) == 6
    two = changes(direct, 2018, 2020, accept="eu28_to_eu27_2020")
    np.testing.assert_allclose(two["estimate"], 0.1)


def test_a_period_with_both_compositions_keeps_its_groups_apart():
    twice = by_citizenship(("2019", "28"), ("2020", "27_2020"))
    old = by_citizenship(("2018", "28"), ("2020", "28")).iloc[3:5].assign(estimate=0.9)
    table = sae.EstimateTable(pd.concat([twice, old]).assign(indicator="own"), ("domain", "citizen"))
    made = changes(table)
    assert made["citizen"].tolist() == ["NAT", "EU28_FOR", "NEU28_FOR"]
    assert (made["breaks"] == "").all()


def test_sides_of_other_compositions_are_refused_in_every_comparison():
    frame = by_citizenship(("2019", "28")).drop(columns="time")
    odd = frame.replace("NEU28_FOR", "NEU27_2020_FOR")
    with pytest.raises(SaeInputError, match="eu28_to_eu27_2020"):
        sae.compare.gaps(odd, "citizen", "NEU27_2020_FOR", "EU28_FOR")
    sae.compare.gaps(odd, "citizen", "NEU27_2020_FOR", "NAT")
    sae.compare.gaps(frame, "citizen", "NEU28_FOR", "EU28_FOR")
    areas = pd.DataFrame(
        {"domain": ["AT / EU28_FOR", "DE / EU27_2020_FOR"], "estimate": [0.5, 0.6], "se": 0.1}
    )
    for verb in (sae.compare.pairs, lambda data: sae.compare.differences(data, "AT / EU28_FOR")):
        with pytest.raises(SaeInputError, match="eu28_to_eu27_2020"):
            verb(areas)


def test_a_column_with_the_composition_says_it_of_groups_that_do_not():
    frame = pd.DataFrame({"domain": "AT", "time": ["2019", "2020"], "estimate": [0.5, 0.6], "se": 0.01})
    with pytest.raises(SaeInputError, match="eu28_to_eu27_2020"):
        changes(frame.assign(eu=["EU28", "EU27_2020"]))
    assert changes(frame.assign(eu=[0.1, 0.2]))["verdict"].tolist() == ["rose"]  # a covariate of that name
    with pytest.raises(SaeInputError, match="eu28_to_eu27_2020"):
        sae.compare.ranks(frame.assign(eu=["EU28", "EU27_2020"], domain=["AT", "DE"], time="2020"), seed=1)
