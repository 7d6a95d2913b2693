"""What all unit-level models do alike: surveys, Parquet files, warnings."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import (
    BoundaryVarianceWarning,
    CollinearityWarning,
    ExtrapolationWarning,
    SaeInputError,
    SmallSampleWarning,
)
from sae.samplers.pymc import Chains
from sae.unit_level.glmm import multinomial_fit

CATEGORIES = ("employed", "unemployed", "inactive")
NAMES = [f"A{k:02d}" for k in range(14)]
MODELS = {
    "reml": (sae.NestedError("y ~ x", domain="area", population="N"), None),
    "bootstrap": (sae.NestedError("y ~ x", domain="area", population="N", mse="bootstrap", replicates=9), 1),
    "bayes": (sae.NestedError("y ~ x", domain="area", method="bayes", population="N"), None),
    "m_quantile": (sae.MQuantile("y ~ x", domain="area", population="N"), None),
    "logit": (sae.LogitMixed("employed ~ x", domain="area", population="N"), None),
    "multinomial": (sae.MultinomialMixed(" + ".join(CATEGORIES) + " ~ z", domain="area", draws=4000), 1),
}


@pytest.fixture(autouse=True)
def chains_at_once(monkeypatch):
    """Chains that know nothing of the data, at once: what stands around them is tested."""

    def sample(counts, X, code, units, *, seed, draws, **_):
        rng, shape = np.random.default_rng(seed), (4, draws)
        free = counts.shape[1] - 1
        return Chains.of(
            {
                "beta": rng.normal(size=(*shape, X.shape[1], free)),
                "effect": 0.1 * rng.normal(size=(*shape, len(X), free)),
                "sigma": rng.uniform(0.5, 1.0, (*shape, free)),
                "correlation": rng.uniform(-1, 1, (*shape, free * (free - 1) // 2)),
            }
        )

    monkeypatch.setattr(multinomial_fit, "sample_multinomial", sample)


@pytest.fixture
def units():
    rng = np.random.default_rng(5)
    area = np.repeat(NAMES[:-1], rng.integers(4, 12, 13))  # the last area has no units
    frame = pd.DataFrame({"area": area, "x": rng.integers(0, 4, len(area))})
    effect = frame["area"].map(dict(zip(NAMES, rng.normal(size=14), strict=True)))
    frame["y"] = 1 + 2 * frame["x"] + effect + 0.8 * rng.normal(size=len(frame))
    state = rng.integers(0, 3, len(frame))
    return frame.assign(**{name: (state == k).astype(int) for k, name in enumerate(CATEGORIES)})


@pytest.fixture
def areas():
    rng = np.random.default_rng(6)
    cells = pd.DataFrame([(name, x) for name in NAMES for x in (0, 1, 2, 3)], columns=["area", "x"])
    return cells.assign(N=rng.integers(10, 40, len(cells)))


def population(name, areas):
    """The rows that a model takes: cells, or one row per area."""
    if name != "multinomial":
        return areas
    return pd.DataFrame({"area": NAMES, "z": np.random.default_rng(7).normal(size=14)})


def fitted(name, units, areas):
    spec, seed = MODELS[name]
    return spec.fit(units, areas=areas, seed=seed)


@pytest.mark.parametrize("name", MODELS)
def test_a_survey_gives_the_numbers_of_its_frame(name, units, areas):
    rows = population(name, areas)
    survey = sae.Survey.from_frame(units.assign(w=np.linspace(1, 9, len(units))), weights="w")
    from_frame, from_survey = fitted(name, units, rows), fitted(name, survey, rows)
    pd.testing.assert_frame_equal(from_survey.to_frame(), from_frame.to_frame())
    pd.testing.assert_frame_equal(from_survey.coefficients, from_frame.coefficients)
    part = fitted(name, survey.subset("x >= 1"), rows)  # its records alone
    pd.testing.assert_frame_equal(part.to_frame(), fitted(name, units[units["x"] >= 1], rows).to_frame())
    with pytest.raises(SaeInputError, match="The units are a list, not a pandas DataFrame"):
        fitted(name, [1, 2], rows)


@pytest.mark.parametrize("name", MODELS)
def test_areas_may_lie_in_parquet_files(name, units, areas, tmp_path):
    rows = population(name, areas)
    expected = fitted(name, units, rows).to_frame()
    sae.tables.write_table(rows.assign(note="not read"), tmp_path / "areas.parquet")
    (tmp_path / "parts").mkdir()
    for k, part in enumerate((rows.iloc[:20], rows.iloc[20:])):
        sae.tables.write_table(part, tmp_path / "parts" / f"{k}.parquet")
    for path in (tmp_path / "areas.parquet", str(tmp_path / "parts")):
        fit = fitted(name, units, path)
        pd.testing.assert_frame_equal(fit.to_frame(), expected)
        assert "note" not in fit.areas
    with pytest.raises(SaeInputError, match="no file"):
        fitted(name, units, tmp_path / "none.parquet")
    sae.tables.write_table(rows.drop(columns="area"), tmp_path / "bare.parquet")
    with pytest.raises(SaeInputError, match="no column 'area' with the labels"):
        fitted(name, units, tmp_path / "bare.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(SaeInputError, match="neither a Parquet file nor a folder"):
        fitted(name, units, tmp_path / "text.parquet")


@pytest.mark.parametrize("name", MODELS)
def test_the_data_of_a_fit_are_those_that_were_fitted(name, units, areas):
    fit = fitted(name, units, population(name, areas))
    data, table = fit.data, fit.estimates
    assert data.labels.tolist() == table["domain"].tolist()
    assert data.sampled.tolist() == table["in_sample"].tolist()
    assert data.X.shape == (len(data.outcome), len(data.columns)) and np.isnan(data.vardir).all()
    sums = np.bincount(data.row, np.nan_to_num(data.outcome), len(table))
    direct = sums[data.sampled] / np.bincount(data.row, minlength=len(table))[data.sampled]
    np.testing.assert_allclose(direct, table["direct"][data.sampled])


def said(category, call):
    """The fit, and its messages of one category; all are emitted here, each once, and stand on record."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = call()
    texts = [str(warning.message) for warning in caught]
    assert len(set(texts)) == len(texts)
    assert {warning.filename for warning in caught} == {__file__}
    assert fit.provenance["warnings"] == [message.text for message in fit.messages]
    assert set(texts) <= set(fit.provenance["warnings"])
    return fit, [str(warning.message) for warning in caught if warning.category is category]


@pytest.mark.parametrize("name", MODELS)
def test_extrapolation_is_told(name, units, areas):
    rows = population(name, areas)
    column = "z" if name == "multinomial" else "x"
    far = rows.assign(**{column: rows[column].where(rows["area"] != NAMES[-1], 50)})
    spec, seed = MODELS[name]
    _, (text,) = said(ExtrapolationWarning, lambda: spec.fit(units, areas=far, seed=seed))
    assert column in text and text.endswith(f"{NAMES[-1]}.")
    assert "in 1 of 1 areas without a sample" in text if name == "multinomial" else "in 1 of 14 areas" in text


@pytest.mark.parametrize("name", MODELS)
def test_collinear_covariates_are_told(name, units, areas):
    rows, rng = population(name, areas), np.random.default_rng(8)
    column = "z" if name == "multinomial" else "x"
    if name != "multinomial":
        units = units.assign(twin=units["x"] + 1e-3 * rng.normal(size=len(units)))
    rows = rows.assign(twin=rows[column] + 1e-3 * rng.normal(size=len(rows)))
    spec, seed = MODELS[name]
    spec = type(spec).from_dict({**spec.to_dict(), "formula": f"{spec.formula} + twin"})
    _, (text,) = said(CollinearityWarning, lambda: spec.fit(units, areas=rows, seed=seed))
    assert "twin" in text


def test_a_boundary_variance_is_told(units, areas):
    flat = units.assign(y=units["x"] + np.resize([0.3, -0.2, -0.1], len(units)))
    spec = sae.NestedError("y ~ x", domain="area", population="N")
    _, (text,) = said(BoundaryVarianceWarning, lambda: spec.fit(flat, areas=areas))
    assert "exactly 0" in text and "posterior" in text


def test_areas_too_few_for_an_interval_are_told(units):
    few = units[units["area"].isin(NAMES[:2])]
    spec = sae.NestedError("y ~ 1", domain="area")
    fit, (text,) = said(SmallSampleWarning, lambda: spec.fit(few))
    assert "No interval in 2 of 2 rows" in text
    assert fit.estimates["ci_low"].isna().all()
    assert set(fit.estimates["interval"]) == {"none: too few areas"}
