"""MultivariateFayHerriot with several fits, and with a labelled covariance matrix for every area."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sae.area_level import MultivariateFayHerriot
from sae.errors import BoundaryVarianceWarning, SaeInputError, SaeSpecError

SAME = 1e-10  # the same fit of the same rows; only sums in another order are between
VARDIR = {"a": "va", "b": "vb", ("a", "b"): "cab"}
COMPARED = ["estimate", "mse", "ci_low", "ci_high", "gamma", "direct_se"]
FORMULAS = ["a ~ x", "b ~ x"]


@pytest.fixture
def panel(rng):
    """30 areas in 2024, 60 in 2025, mixed; the effects differ between the years."""
    parts = []
    for year, n, correlation in ((2024, 30, 0.2), (2025, 60, 0.8)):
        x = rng.normal(size=n)
        u = rng.multivariate_normal([0, 0], [[1.0, correlation], [correlation, 1.0]], size=n)
        root = rng.normal(size=(n, 2, 2))
        psi = 0.3 * root @ root.swapaxes(1, 2) + 0.2 * np.eye(2)
        y = np.column_stack([1.0 + x, year - 2023 - x]) + u
        y += np.einsum("drs,ds->dr", np.linalg.cholesky(psi), rng.normal(size=(n, 2)))
        parts.append(
            pd.DataFrame(
                {
                    "area": [f"A{k:02d}" for k in range(n)],
                    "year": year,
                    "x": x,
                    "a": y[:, 0],
                    "b": y[:, 1],
                    "va": psi[:, 0, 0],
                    "vb": psi[:, 1, 1],
                    "cab": psi[:, 0, 1],
                }
            )
        )
    frame = pd.concat(parts).sample(frac=1.0, random_state=1).reset_index(drop=True)
    frame.loc[[3, 40], "a"] = np.nan
    return frame


def model(**options):
    return MultivariateFayHerriot(FORMULAS, domain="area", **{"vardir": VARDIR, **options})


def matrices(frame, keys=("area",)):
    """The covariances of a frame as labelled tables, the components in the other order."""
    labels = frame[list(keys)].itertuples(index=False, name=None)
    return {
        label if len(label) > 1 else label[0]: pd.DataFrame(
            [[vb, cab], [cab, va]], index=["b", "a"], columns=["b", "a"]
        )
        for label, va, vb, cab in zip(labels, frame["va"], frame["vb"], frame["cab"], strict=True)
    }


def test_every_fit_is_that_of_its_rows_alone(panel):
    fit = model(per="year").fit(panel)
    table = fit.to_frame()
    assert table["year"].tolist() == panel["year"].repeat(2).tolist()  # in the order of the data
    assert set(table.loc[table["year"] == 2024, "interval"]) == {"posterior, flat-covariance prior"}
    assert set(table.loc[table["year"] == 2025, "interval"]) == {"t on the MSE"}
    gap = fit.contrast({"a": 1, "b": -1}).to_frame()
    ratio_of = fit.contrast({"a": 1}, constant=10.0).to_frame()
    for year, rows in panel.groupby("year"):
        alone = model().fit(rows)
        mine = table[table["year"] == year]
        for name in COMPARED:
            np.testing.assert_allclose(mine[name], alone.to_frame()[name], rtol=SAME, err_msg=name)
        np.testing.assert_allclose(fit.coefficients.loc[year, "se"], alone.coefficients["se"], rtol=SAME)
        np.testing.assert_allclose(
            fit.effect_covariance.loc[year], alone.effect_covariance, rtol=SAME, atol=SAME
        )
        np.testing.assert_allclose(fit.correlations.loc[year], alone.correlations, rtol=SAME)
        own = alone.contrast({"a": 1, "b": -1}).to_frame()
        for name in ("estimate", "mse", "ci_low", "ci_high", "direct", "direct_se"):
            np.testing.assert_allclose(gap.loc[gap["year"] == year, name], own[name], rtol=SAME)
        assert set(ratio_of.loc[ratio_of["year"] == year, "interval"]) == set(own["interval"])
        np.testing.assert_allclose(
            fit.residuals.loc[mine.index.intersection(fit.residuals.index), "standardised"],
            alone.residuals["standardised"],
            rtol=1e-8,
        )
    joint, years = fit.joint.covariance(), table["year"].to_numpy()
    assert not joint[np.ix_(years == 2024, years == 2025)].any()  # nothing is shared between the fits
    drawn = np.corrcoef(fit.draws(2000, seed=1).values.T)[np.ix_(years == 2024, years == 2025)]
    assert np.abs(drawn).max() < 0.15  # 5 standard deviations: each fit has its own streams


def test_draws_of_a_year_do_not_depend_on_the_other_one(panel):
    both = model(per="year").fit(panel).draws(3, seed=1)
    later = model(per="year").fit(panel[panel["year"] == 2025]).draws(3, seed=1)
    years = panel["year"].repeat(2).to_numpy()
    np.testing.assert_allclose(both.values[:, years == 2025], later.values, rtol=SAME)


def test_the_bootstrap_of_a_fit_is_its_own(panel):
    options = {"mse": "bootstrap", "replicates": 3, "structure": "diagonal", "per": "year"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryVarianceWarning)
        both = model(**options).fit(panel, seed=1).to_frame()
        later = model(**options).fit(panel[panel["year"] == 2025], seed=1).to_frame()
    np.testing.assert_allclose(both.loc[both["year"] == 2025, "mse"], later["mse"], rtol=SAME)


def test_the_summary_counts_areas_and_shows_the_coefficients_of_each_fit(panel):
    text = model(per="year").fit(panel).summary()
    assert "60 areas in 90 rows × 2 components" in text
    assert all(f"{year} / {term}" in text for year in (2024, 2025) for term in ("a / x", "b / Intercept"))
    assert "one fit per year" in repr(model(per="year"))
    assert MultivariateFayHerriot.from_toml(model(per="year").to_toml()) == model(per="year")


def test_a_fit_without_enough_areas_is_named(panel):
    few = pd.concat([panel, panel[panel["year"] == 2025].head(2).assign(year=2026)])
    with pytest.raises(SaeInputError, match="2026"):
        model(per="year").fit(few)
    with pytest.raises(SaeInputError, match="appear more than once"):
        model().fit(panel)
    with pytest.raises(SaeSpecError, match="per= names birth, whose levels are the components"):
        MultivariateFayHerriot("rate ~ x", components="birth", per=["birth"])


def test_labelled_matrices_are_the_columns_by_another_way(panel):
    once = panel[panel["year"] == 2025]
    for frame, options, keys in ((once, {}, ("area",)), (panel, {"per": "year"}, ("area", "year"))):
        named = model(**options).fit(frame).to_frame()
        labelled = model(vardir=(), **options).fit(frame, covariance=matrices(frame, keys)).to_frame()
        pd.testing.assert_frame_equal(named.drop(columns="run"), labelled.drop(columns="run"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda given: given | {"A99": given["A01"]}, "1 labels that no row of the data bears: A99"),
        (lambda given: given | {"A01": given["A01"].to_numpy()}, "no tables with a, b on both axes: A01"),
        (lambda given: given | {"A01": given["A01"].rename(index={"a": "c"})}, "both axes: A01"),
        (lambda given: given | {"A01": given["A01"] + np.array([[0, 0.1], [0, 0]])}, "not symmetric: A01"),
        (lambda given: {key: given[key] for key in given if key != "A01"}, "A01"),
        (lambda given: given | {"A01": given["A01"] * 0}, "not positive.*A01"),
    ],
)
def test_covariances_that_do_not_fit_are_refused_by_name(panel, change, words):
    once = panel[panel["year"] == 2025]
    with pytest.raises(SaeInputError, match=words):
        model(vardir=()).fit(once, covariance=change(matrices(once)))


def test_covariances_are_given_once(panel):
    once = panel[panel["year"] == 2025]
    with pytest.raises(SaeSpecError, match="both give the sampling covariances"):
        model().fit(once, covariance=matrices(once))
