"""Rows of a file added up as they are read: the figures and the bootstrap are those of a frame."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError
from sae.numerics.ebp import tally
from sae.tables import blocks
from sae.unit_level.ebp import cells, streamed

ROUNDING = 1e-12  # sums of persons in another order
SERIES = 1e-10  # squares of differences of figures that are read off series of eleven digits
BLOCK = 700  # rows: several blocks, whose ends are not those of row groups

pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
AREAS = [f"{k:02d}" for k in range(1, 9)]
FORMULA = "income ~ birth + age + register"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Rows do not fit into the memory, and blocks are small."""
    monkeypatch.setattr(cells, "_READ", 0.0)
    monkeypatch.setattr(cells, "_MEMORY", 0.0)
    monkeypatch.setattr(tally, "MOST", 1_000)  # cells
    cut(monkeypatch, BLOCK)


def cut(monkeypatch, rows):
    for module in (blocks, streamed):
        monkeypatch.setattr(module, "BLOCK", rows)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"area": rng.choice(AREAS, size=3_000)})
    frame["region"] = np.where(frame["area"] < "05", "east", "west")
    frame["birth"] = rng.choice(["foreign", "native"], size=3_000, p=[0.3, 0.7])
    frame["age"] = rng.uniform(20.0, 65.0, size=3_000)
    frame["register"] = rng.normal(size=3_000)
    frame["weight"] = rng.uniform(0.5, 3.0, size=3_000)
    return frame


@pytest.fixture(scope="module")
def sample(people):
    rng = np.random.default_rng(4)
    frame = people[people["area"] != "08"].groupby("area").sample(15, random_state=1).reset_index(drop=True)
    effect = dict(zip(AREAS, 0.25 * rng.normal(size=8), strict=True))
    score = 9.0 + 0.01 * frame["age"] + 0.2 * frame["register"] - 0.2 * (frame["birth"] == "foreign")
    welfare = np.exp(score + frame["area"].map(effect) + 0.4 * rng.normal(size=len(frame)))
    return frame.drop(columns="weight").assign(income=welfare)


@pytest.fixture
def stored(tmp_path):
    def write(frame) -> Path:
        path = tmp_path / f"people{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        for k, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
            frame.iloc[rows].to_parquet(path / f"part-{k}.parquet", index=False, row_group_size=400)
        return path

    return write


def fitted(sample, areas, formula=FORMULA, **options):
    given = {"threshold": 12_000.0, "transform": "log", "mse": "none", **options}
    return sae.EBP(formula, domain="area", **given).fit(sample, areas=areas, seed=1)


def same(one, two, mse=SERIES):
    columns = ["indicator", "domain", "n", "model"]
    pd.testing.assert_frame_equal(one.estimates.frame[columns], two.estimates.frame[columns])
    np.testing.assert_allclose(one.estimates["estimate"], two.estimates["estimate"], rtol=ROUNDING)
    np.testing.assert_allclose(one.estimates["mse"], two.estimates["mse"], rtol=mse)
    pd.testing.assert_frame_equal(one.areas, two.areas)
    assert [str(note) for note in one.messages] == [str(note) for note in two.messages]


ALL = {
    "indicators": ["mean", "head_count", "gap", "severity"],
    "levels": "region",
    "groups": "birth",
    "population_weights": "weight",
}


@pytest.mark.parametrize("transform", ["none", "log", "log-shift", "box-cox", "dual-power"])
def test_figures_and_bootstrap_are_those_of_the_frame(people, sample, stored, transform):
    options = {**ALL, "transform": transform, "mse": "bootstrap", "replicates": 3}
    one, two = fitted(sample, stored(people), **options), fitted(sample, people, **options)
    same(one, two)
    assert one.provenance["population"] == len(people)


def test_without_weights_groups_and_levels(people, sample, stored):
    options = {"mse": "bootstrap", "replicates": 2}
    path = stored(people.drop(columns=["weight", "region"]))
    same(fitted(sample, path, **options), fitted(sample, people, **options))


@pytest.mark.parametrize("errors", ["empirical", "heteroscedastic"])
def test_errors_that_are_not_normal(people, sample, stored, errors):
    options = {**ALL, "errors": errors, "indicators": ["head_count"]}
    same(fitted(sample, stored(people), **options), fitted(sample, people, **options))


@pytest.mark.parametrize("errors", ["normal", "empirical"])
def test_blocks_and_threads_change_nothing(people, sample, stored, monkeypatch, errors):
    options = {**ALL, "mse": "bootstrap", "replicates": 2, "errors": errors}
    path = stored(people)
    one = fitted(sample, path, **options)
    cut(monkeypatch, 65_536)
    same(one, fitted(sample, path, **options))
    cut(monkeypatch, BLOCK)
    monkeypatch.setattr(streamed.config, "NUMBA_NUM_THREADS", 2)
    monkeypatch.setattr("sae.unit_level.ebp.fit.MANY", 1)
    two = fitted(sample, path, **options)
    pd.testing.assert_frame_equal(one.estimates.frame, two.estimates.frame)


def test_replicates_may_take_several_passes(people, sample, stored, monkeypatch):
    options = {"mse": "bootstrap", "replicates": 3}
    path = stored(people)
    one = fitted(sample, path, **options)
    monkeypatch.setattr("sae.numerics.ebp.streamed._MEMORY", 1.0)
    pd.testing.assert_frame_equal(one.estimates.frame, fitted(sample, path, **options).estimates.frame)


def test_weights_that_are_all_different(people, sample, stored):
    options = {"population_weights": "weight", "mse": "bootstrap", "replicates": 2}
    path = stored(people)
    same(
        fitted(sample, path, "income ~ birth", **options), fitted(sample, people, "income ~ birth", **options)
    )


def test_functions_of_columns(people, sample, stored):
    formula = "income ~ birth * age + I(register**2) + scale(register)"
    same(fitted(sample, stored(people), formula), fitted(sample, people, formula))


def test_a_threshold_of_the_sample_needs_no_rows_without_an_mse(people, sample, stored):
    options = {"threshold": "60% of the median"}
    same(fitted(sample, stored(people), **options), fitted(sample, people, **options))


def test_another_value_is_another_run(people, sample, stored):
    other = people.assign(age=people["age"].where(people.index != 5, 30.0))
    one, two = (fitted(sample, stored(frame)).estimates["run"].iloc[0] for frame in (people, other))
    assert one != two


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"indicators": ["mean", "gini"]}, "gini"),
        ({"mse": "wild"}, 'mse="wild"'),
        ({"method": "ell", "mse": "auto"}, 'method="ell"'),
        ({"method": "bayes", "mse": "auto"}, 'method="bayes"'),
        ({"threshold": "60% of the median", "mse": "bootstrap"}, "The MSE with a threshold that comes"),
    ],
)
def test_what_needs_the_rows_is_refused_by_name(people, sample, stored, options, what):
    text = rf"3,000 rows and too many combinations.*{what}.* needs its rows"
    with pytest.raises(SaeInputError, match=text) as refused:
        fitted(sample, stored(people), **options)
    assert ("in parts" in str(refused.value)) == ("threshold" not in options)


def test_areas_may_come_in_parts(people, sample):
    """What needs rows in memory: figures of areas do not depend on the others."""
    options = {"indicators": ["gini", "mean"], "mse": "bootstrap", "replicates": 3, "draws": 8}
    whole = fitted(sample, people, **options).estimates.frame.set_index(["domain", "indicator"])
    for region, part in people.groupby("region"):
        made = fitted(sample, part, **options).estimates.frame.set_index(["domain", "indicator"])
        expected = whole.loc[made.index]
        np.testing.assert_allclose(made["estimate"], expected["estimate"], rtol=SERIES, err_msg=str(region))
        np.testing.assert_allclose(made["mse"], expected["mse"], rtol=1e-6)  # fits of other orders of areas


def test_unusable_numbers_are_counted(people, sample, stored):
    gone = people.index % 1000 == 7
    bad = set(people["area"][gone])
    places = ", ".join(area for area in people["area"].unique() if area in bad)
    for value in (np.nan, np.inf):
        bad = stored(people.assign(age=people["age"].mask(gone, value)))
        with pytest.raises(SaeInputError, match=rf"age is missing or infinite in 3 of 3,000 .*, in {places}"):
            fitted(sample, bad)
    bad = stored(people.assign(weight=people["weight"].mask(gone, -1.0)))
    with pytest.raises(SaeInputError, match=rf"weight is missing, negative or infinite in 3 of .*{places}"):
        fitted(sample, bad, population_weights="weight")


def test_unusable_labels_are_counted(people, sample, stored):
    with pytest.raises(SaeInputError, match="birth is missing in 3 of 3,000 rows of the population, in"):
        fitted(sample, stored(people.assign(birth=people["birth"].mask(people.index < 3))))
    strange = people.assign(birth=people["birth"].mask(people.index < 3, "unknown"))
    with pytest.raises(SaeInputError, match=r"birth has levels .* never saw: unknown \(in 3 rows"):
        fitted(sample, stored(strange))
    with pytest.raises(SaeInputError, match=r"birth has levels .* never saw: unknown \(in 3 rows"):
        fitted(sample, stored(strange), groups="birth")
    moved = people.assign(region=people["region"].mask(people.index == 5, "north"))
    with pytest.raises(SaeInputError, match="1 area lies in several parts of region"):
        fitted(sample, stored(moved), levels="region")
    nobody = people.assign(weight=people["weight"].mask(people["area"] == "03", 0.0))
    with pytest.raises(SaeInputError, match="1 area of the population has no person: weight is 0"):
        fitted(sample, stored(nobody), population_weights="weight")
    with pytest.raises(SaeInputError, match="01"):
        fitted(sample, stored(people.assign(area=people["area"].astype(int))))


def test_welfare_at_the_top_of_a_scale(people, sample, stored):
    units = sample.assign(income=1.0 / sample["income"].rank() ** 1.5)
    texts = []
    for areas in (people, stored(people)):
        with pytest.raises(SaeInputError, match="which a mean cannot rest on") as refused:
            fitted(units, areas, transform="box-cox", threshold=0.01)
        texts.append(str(refused.value))
    assert texts[0] == texts[1]
