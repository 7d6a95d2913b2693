"""A population read from files: the cells are the frame, whatever its order, its files and its threads."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError
from sae.unit_level.ebp import cells, limits
from sae.unit_level.ebp.cells import read_cells

ROUNDING = 1e-12  # sums of persons in another order
SERIES = 1e-9  # many persons in memory are read off series of eleven digits, cells are not; squares double it

AREAS = [f"{k:02d}" for k in range(1, 9)]


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"area": rng.choice(AREAS, size=4_000)})
    frame["region"] = np.where(frame["area"] < "05", "east", "west")
    frame["birth"] = rng.choice(["foreign", "native"], size=4_000, p=[0.3, 0.7])
    frame["school"] = rng.integers(1, 4, size=4_000)
    frame["persons"] = rng.integers(1, 4, size=4_000)
    frame["age"] = rng.uniform(20.0, 65.0, size=4_000)
    return frame


@pytest.fixture(scope="module")
def sample(people):
    rng = np.random.default_rng(4)
    frame = people[people["area"] != "08"].groupby("area").sample(15, random_state=1).reset_index(drop=True)
    effect = dict(zip(AREAS, 0.25 * rng.normal(size=8), strict=True))
    score = 9.0 + 0.1 * frame["school"] - 0.2 * (frame["birth"] == "foreign") + frame["area"].map(effect)
    return frame.assign(income=np.exp(score + 0.4 * rng.normal(size=len(frame))))


def stored(frame, path, files=3, **options):
    """Write a frame as a folder of Parquet files with small row groups."""
    path.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        frame.iloc[rows].to_parquet(path / f"part-{k}.parquet", index=False, row_group_size=700, **options)
    return path


def fitted(sample, areas, formula="income ~ birth + school", seed=1, **options):
    given = {
        "domain": "area",
        "threshold": 9_000.0,
        "transform": "log",
        "mse": "none",
        "draws": 16,
        **options,
    }
    return sae.EBP(formula, **given).fit(sample, areas=areas, seed=seed)


def expanded(path, columns, weight=None):
    """Return the persons of a file in the order of their cells."""
    one = read_cells(path, "birth + school", "area", columns, ["region"])
    return one.frame.loc[np.repeat(np.arange(len(one.frame)), one.count)].reset_index(drop=True)


def same(one, two, rtol=ROUNDING):
    columns = ["indicator", "domain", "n"]
    pd.testing.assert_frame_equal(one.estimates.frame[columns], two.estimates.frame[columns])
    for name in ("estimate", "mse", "ci_low"):
        np.testing.assert_allclose(one.estimates[name], two.estimates[name], rtol=rtol)


def test_closed_forms_are_those_of_the_frame(people, sample, tmp_path):
    options = {"levels": "region", "groups": "birth", "population_weights": "persons"}
    options["indicators"] = ["mean", "head_count", "gap", "severity"]
    path = stored(people, tmp_path / "people")
    one, two = fitted(sample, path, **options), fitted(sample, people, **options)
    same(one, two)
    assert one.provenance["population"] == len(people)
    assert one.diagnostics["population"].tolist() == [len(people)]


def test_simulated_figures_are_those_of_persons_in_the_order_of_their_cells(people, sample, tmp_path):
    path = stored(people, tmp_path / "people")
    for weight in (None, "persons"):
        options = {"indicators": ["gini", "head_count"], "population_weights": weight, "levels": "region"}
        options |= {"mse": "bootstrap", "replicates": 3}
        columns = [] if weight is None else [weight]
        same(fitted(sample, path, **options), fitted(sample, expanded(path, columns), **options), SERIES)


@pytest.mark.parametrize("mse", ["bootstrap", "wild"])
def test_bootstrap_of_cells(people, sample, tmp_path, mse):
    path = stored(people, tmp_path / "people")
    options = {"mse": mse, "replicates": 4, "groups": "birth", "levels": "region"}
    same(fitted(sample, path, **options), fitted(sample, expanded(path, []), **options), rtol=SERIES)


@pytest.mark.parametrize("method", ["ell", "bayes"])
def test_simulating_methods_on_cells(people, sample, tmp_path, method):
    path = stored(people, tmp_path / "people")
    options = {"method": method, "mse": "auto", "draws": 100, "levels": "region", "groups": "birth"}
    one = fitted(sample, path, **options)
    same(one, fitted(sample, expanded(path, []), **options), SERIES)


def test_threads_change_nothing(people, tmp_path, monkeypatch):
    path = stored(people, tmp_path / "people")
    one = read_cells(path, "birth", "area", ["school"], ["region"])
    monkeypatch.setattr(cells.config, "NUMBA_NUM_THREADS", 2)
    two = read_cells(path, "birth", "area", ["school"], ["region"])
    pd.testing.assert_frame_equal(one.frame, two.frame)
    np.testing.assert_array_equal(one.count, two.count)


def test_cells_count_the_rows(people, tmp_path):
    path = stored(people, tmp_path / "people")
    one = read_cells(path, "birth", "area", ["school"], ["region"])
    counts = people.groupby(["area", "school", "birth"]).size()
    found = one.frame.assign(size=one.count).set_index(["area", "school", "birth"])["size"].sort_index()
    pd.testing.assert_series_equal(found, counts, check_names=False)
    assert list(dict.fromkeys(one.frame["area"])) == list(dict.fromkeys(people["area"]))


def test_columns_may_be_told_by_folders(people, sample, tmp_path):
    people.to_parquet(tmp_path / "people", partition_cols=["area"], index=False)
    frame = people.sort_values("area", kind="stable")
    same(fitted(sample, tmp_path / "people"), fitted(sample, frame))


def test_numbers_that_are_all_different_are_no_cells(people, sample, tmp_path):
    path = stored(people, tmp_path / "people")
    same(fitted(sample, path, "income ~ age"), fitted(sample, people, "income ~ age"), rtol=0.0)


def test_too_many_cells_are_refused_where_rows_do_not_fit(people, sample, tmp_path, monkeypatch):
    path = stored(people, tmp_path / "people")
    monkeypatch.setattr(cells, "_MEMORY", 1e5)
    with pytest.raises(
        SaeInputError, match=r"4,000 rows and too many combinations of area.* age .* gini needs"
    ):
        fitted(sample, path, "income ~ age", indicators=["gini"])


def test_more_than_can_be_simulated_is_refused(people, sample, tmp_path, monkeypatch):
    path = stored(people, tmp_path / "people")
    monkeypatch.setattr(limits, "_MEMORY", 1e5)
    with pytest.raises(SaeInputError, match=r"(west|east) \(region\) has .* persons: gini"):
        fitted(sample, path, indicators=["gini"], levels="region")
    with pytest.raises(SaeInputError, match='mse="wild" of a wild bootstrap holds'):
        fitted(sample, path, mse="wild")
    with pytest.raises(SaeInputError, match=r"\(region\) has .* persons: gini simulates all"):
        fitted(sample, path, method="bayes", mse="auto", draws=100, levels="region", indicators=["gini"])
    fitted(sample, path, method="bayes", mse="auto", draws=100, levels="region")  # from areas
    with pytest.raises(SaeInputError, match="ELL of mean holds"):
        fitted(sample, path, method="ell", mse="auto")


def test_missing_values_are_counted(people, sample, tmp_path):
    gaps = people.assign(school=people["school"].where(people.index % 1000 != 7).astype("Int64"))
    path = stored(gaps, tmp_path / "people")
    with pytest.raises(SaeInputError, match="school is missing in 4 of 4,000 rows of the population, in "):
        fitted(sample, path)
    gaps = people.assign(area=people["area"].where(people.index > 2))
    with pytest.raises(SaeInputError, match="area is missing in 3 of 4,000 rows"):
        fitted(sample, stored(gaps, tmp_path / "two"))
    blank = people.assign(birth=people["birth"].where(people.index > 2, " "))
    with pytest.raises(SaeInputError, match="birth is missing in 3 of 4,000 rows of the population, in "):
        fitted(sample, stored(blank, tmp_path / "blank"))


def test_levels_that_the_sample_never_saw_are_named(people, sample, tmp_path):
    strange = people.assign(birth=people["birth"].where(people.index != 5, "unknown"))
    with pytest.raises(SaeInputError, match="birth has levels that the fit never saw: unknown"):
        fitted(sample, stored(strange, tmp_path / "people"))


def test_keys_without_their_zeros_are_named(people, sample, tmp_path):
    path = stored(people.assign(area=people["area"].astype(int)), tmp_path / "people")
    with pytest.raises(SaeInputError, match="01"):
        fitted(sample, path)


def test_an_area_in_two_regions_is_named(people, sample, tmp_path):
    moved = people.assign(region=people["region"].where(people.index != 5, "north"))
    with pytest.raises(SaeInputError, match="1 area lies in several parts of region"):
        fitted(sample, stored(moved, tmp_path / "people"), levels="region")


def test_a_column_that_the_file_lacks_is_named(people, sample, tmp_path):
    path = stored(people.drop(columns="school"), tmp_path / "people")
    with pytest.raises(SaeInputError, match="school"):
        fitted(sample, path)


def test_bad_weights_are_counted(people, sample, tmp_path):
    bad = people.assign(persons=people["persons"].where(people["area"] != "03", -1))
    many = int((people["area"] == "03").sum())
    with pytest.raises(SaeInputError, match=f"negative or infinite in {many} of 4,000 rows .*: in 03"):
        fitted(sample, stored(bad, tmp_path / "people"), population_weights="persons")


KINDS = {
    "category": lambda column: column.map({1: "low", 2: "middle", 3: "high"}).astype("category"),
    "truth": lambda column: column > 1,
    "small": lambda column: column.astype("int8"),
    "nullable": lambda column: column.astype("Int64"),
    "float": lambda column: 0.1 * column,
    "decimal": lambda column: column.map(lambda value: Decimal(value) / 4),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_columns_of_all_kinds(people, sample, tmp_path, kind):
    name = "truth" if kind == "truth" else "school"
    file, units = (frame.assign(**{name: KINDS[kind](frame["school"])}) for frame in (people, sample))
    if kind == "decimal":
        units[name] = units[name].astype(float)
    plain = file.assign(**{name: file[name].astype(float)}) if kind == "decimal" else file
    path = stored(file, tmp_path / "people")
    formula = f"income ~ birth + {name}"
    assert read_cells(path, f"birth + {name}", "area", [], []) is not None
    same(fitted(units, path, formula), fitted(units, plain, formula))


def test_functions_of_columns_are_those_of_the_cells(people, sample, tmp_path):
    path = stored(people, tmp_path / "people")
    formula = "income ~ birth * school + I(school**2)"
    same(fitted(sample, path, formula), fitted(sample, people, formula))
