"""A register under its own names and codes: the run is that of one under the survey's."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.checks import check
from sae.batch.population import read_population
from sae.batch.runner import run
from sae.batch.spec import parse_spec
from sae.errors import SaeInputError, SaeSpecError
from sae.tables import write_table

SPEC = """
[survey.columns]
weights = "w"
[estimate]
indicator = "pay"
by = "region"
[model]
kind = "ebp"
formula = "pay ~ birth + skill"
indicators = ["mean"]
transform = "none"
mse = "none"
population_weights = "size"
[publish]
seed = 1
"""
OWN = """
[population.columns]
region = "REG"
size = "PERSONS"
[population.codes.birth]
column = "BIRTHPL"
native = [1]
foreign = ["2..4", "X"]
"""


@pytest.fixture
def files(tmp_path):
    """Six regions: units.csv, and the register as people.csv, own.csv, own.parquet and the folder own."""
    rng = np.random.default_rng(3)
    people = pd.DataFrame({"region": np.repeat([f"{k:02d}" for k in range(1, 7)], 100)})
    people["birth"] = rng.choice(["native", "foreign"], 600)
    people["skill"] = rng.integers(0, 4, 600)
    people["size"] = rng.integers(1, 4, 600)
    pay = 20 + 3 * people["skill"] - 2 * (people["birth"] == "foreign") + rng.normal(0, 2, 600)
    units = people.drop(columns="size").assign(pay=pay + np.repeat(rng.normal(size=6), 100), w=5.0)
    write_table(units.groupby("region").head(10), tmp_path / "units.csv")
    write_table(people, tmp_path / "people.csv")
    own = people.rename(columns={"region": "REG", "size": "PERSONS"})
    codes = np.where(own.pop("birth") == "native", "1", rng.choice(["2", "3", "X"], 600))
    own["BIRTHPL"], own["birth"] = codes, "of the register"
    write_table(own, tmp_path / "own.csv")
    own.to_parquet(tmp_path / "own.parquet", row_group_size=70)
    (tmp_path / "own").mkdir()
    for code, part in own.groupby("BIRTHPL"):
        part.to_parquet(tmp_path / "own" / f"{code}.parquet")
    return tmp_path


def table(files, population, text):
    outcome = run(
        parse_spec(text, "register"),
        survey=files / "units.csv",
        population=files / population,
        out=files / population.replace(".", "-"),
    )
    return outcome.table.frame.drop(columns=["run", "model"])


def of_kind(kind):
    if kind == "ebp":
        return SPEC
    options = ("indicators", "transform", "mse", "population_weights")
    return "\n".join(line for line in SPEC.splitlines() if not line.startswith(options)).replace("ebp", kind)


def test_names_and_codes_of_the_register(files):
    expected = table(files, "people.csv", SPEC)
    for population in ("own.parquet", "own"):
        made = table(files, population, SPEC + OWN).set_index("domain").loc[expected["domain"]].reset_index()
        pd.testing.assert_frame_equal(made[list(expected)], expected, rtol=1e-9)


def test_other_models_read_it_whole(files):
    spec = parse_spec(of_kind("nested_error") + OWN, "register")
    survey = sae.Survey.from_frame(pd.read_csv(files / "units.csv", dtype={"region": str}), weights="w")
    whole = pd.read_csv(files / "people.csv", dtype={"region": str}).sort_values(["region", "skill", "birth"])
    for population in ("own.csv", "own.parquet", "own"):
        made = read_population(spec, files / population, survey)
        made = made.astype({"birth": object, "region": object}).sort_values(["region", "skill", "birth"])
        pd.testing.assert_frame_equal(
            made.reset_index(drop=True), whole[list(made)].reset_index(drop=True), check_dtype=False
        )


@pytest.mark.parametrize("population", ["own.csv", "own.parquet"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"2..4", "X"', "2", "birth holds codes in own.* has no level for: '3', 'X'"),
        ('foreign = ["2..4", "X"]', 'abroad = ["2..4", "X"]', "birth has levels .* never saw: abroad"),
        ('size = "PERSONS"', 'size = "SIZE"', "The population own.* has no column 'SIZE'"),
        ('region = "REG"', "", "has no column 'region'"),
    ],
)
def test_what_does_not_fit_is_named(files, population, old, new, words):
    assert old in OWN
    with pytest.raises(SaeInputError, match=words):
        table(files, population, SPEC + OWN.replace(old, new))


def test_codes_of_two_levels_are_refused_by_check(files):
    spec = parse_spec(SPEC + OWN.replace("native = [1]", "native = [1, 2]"), "register")
    with pytest.raises(SaeSpecError, match="birth"):
        check(spec, survey=files / "units.csv", population=files / "own.csv")


def test_keys_that_lack_their_zeros_are_named(files):
    own = pd.read_parquet(files / "own.parquet")
    own.assign(REG=own["REG"].astype(int)).to_parquet(files / "plain.parquet")
    with pytest.raises(SaeInputError, match=r"01.*zeros in front|numbers"):
        table(files, "plain.parquet", SPEC + OWN)


def test_a_folder_without_parquet_is_named_by_check(files):
    (files / "texts").mkdir()
    (files / "texts" / "own.csv").write_bytes((files / "own.csv").read_bytes())
    with pytest.raises(SaeInputError, match="texts is a folder without a Parquet file"):
        check(parse_spec(SPEC, "register"), survey=files / "units.csv", population=files / "texts")


LARGE = """
[population.columns]
region = "REG"
size = "PERSONS"
weights = "W"
strata = "STRATUM"
[population.codes.birth]
column = "BIRTHPL"
native = [1]
foreign = ["2..4", "X"]
"""


def test_a_file_whose_weights_are_named_is_a_large_survey(files):
    rng = np.random.default_rng(5)
    own = pd.read_csv(files / "own.csv", dtype={"REG": str, "BIRTHPL": str})
    own = own.groupby("REG").sample(50, random_state=1).reset_index(drop=True)
    own["W"], own["STRATUM"] = rng.uniform(1.0, 3.0, 300), own["REG"]
    write_table(own, files / "large.csv")
    text = SPEC.replace('mse = "none"', "replicates = 4").replace('["mean"]', '["mean", "gini"]\ndraws = 8')
    made = table(files, "large.csv", text + LARGE)
    native = np.where(own["BIRTHPL"] == "1", "native", "foreign")
    large = own.assign(region=own["REG"], size=own["PERSONS"], birth=native)
    survey = sae.Survey.from_frame(large, weights="W", strata="STRATUM")
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    options = {"indicators": ["mean", "gini"], "transform": "none", "replicates": 4, "draws": 8}
    model = sae.EBP("pay ~ birth + skill", domain="region", population_weights="size", **options)
    expected = model.fit(units, areas=survey, seed=1).estimates.frame
    for name in ("estimate", "mse"):
        np.testing.assert_allclose(made[name], expected[name], rtol=1e-9)
    inside = text.replace("[model]", 'universe = "skill >= 0.5"\n[model]', 1)
    part = model.fit(
        units[units["skill"] >= 0.5], areas=survey.subset("skill >= 0.5"), seed=1
    ).estimates.frame
    made = table(files, "large.csv", inside + LARGE)
    for name in ("estimate", "mse"):
        np.testing.assert_allclose(made[name], part[name], rtol=1e-9)
    with pytest.raises(SaeSpecError, match='only kind = "ebp" takes'):
        table(files, "large.csv", of_kind("nested_error") + LARGE)
