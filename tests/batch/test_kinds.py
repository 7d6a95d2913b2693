"""The kinds of model that a model file can ask for: found by name, refused by name, run end to end."""

import json

import numpy as np
import pandas as pd
import pytest

from sae import area_level
from sae.area_level import FayHerriot, MultivariateFayHerriot, TwoFoldFayHerriot
from sae.batch.demo import country_areas
from sae.batch.estimate import estimator
from sae.batch.kinds import KINDS, model_class, options
from sae.batch.models import find_spec
from sae.batch.runner import run
from sae.batch.spec import parse_spec, title_of
from sae.datasets import country
from sae.errors import SaeSpecError
from sae.results import AreaModel
from sae.tables import write_table

GAP = "employment_gap_by_birth"
HELD = 0.90  # some 120 intervals of 95 %: fewer by four standard errors
GAIN = 0.5  # of the gap's error; seed 1 gives 0.69
BASE = """
[estimate]
indicator = "employment_rate"
by = ["region", "birth"]
[model]
formula = "employment_rate ~ share_tertiary"
"""


@pytest.fixture(scope="module")
def gap(tmp_path_factory):
    """The shipped bivariate model on the synthetic country, as files: outcome, truth, folder."""
    folder, land = tmp_path_factory.mktemp("gap"), country(1)
    write_table(land.lfs(1).frame, folder / "persons.csv")
    write_table(country_areas(land), folder / "areas.csv")
    outcome = run(
        find_spec(GAP), survey=folder / "persons.csv", areas=folder / "areas.csv", out=folder / "out"
    )
    return outcome, land.truth, folder / "out"


def test_the_bivariate_model_runs_from_files_to_the_gap_of_every_region(gap):
    outcome, truth, folder = gap
    assert f"{GAP}.contrasts.csv" in [path.name for path in outcome.files]
    table = pd.read_csv(folder / f"{GAP}.contrasts.csv")
    assert len(table) == 120 and set(table["indicator"]) == {"foreign - native"}
    assert table["definition"].iloc[0] == "foreign - native of employment_rate"
    known = truth.pivot_table(index="region", columns="birth", values="employment_rate", observed=True)
    known = (known["foreign"] - known["native"]).loc[table["region"]].to_numpy()
    assert np.mean((table["ci_low"] <= known) & (known <= table["ci_high"])) > HELD
    both = table["direct"].notna()
    rmse = [np.sqrt(np.mean((table[name] - known)[both] ** 2)) for name in ("estimate", "direct")]
    assert rmse[0] < (1 - GAIN) * rmse[1]
    rates = outcome.table.frame.pivot_table(
        index="region", columns="birth", values="estimate", observed=True
    ).loc[table["region"]]  # benchmarked, and so is their difference
    np.testing.assert_allclose(table["estimate"], rates["foreign"] - rates["native"], rtol=1e-9)
    assert not outcome.failed and outcome.table.frame["benchmark_factor"].notna().all()


def test_the_record_names_what_was_written(gap):
    outcome, _, folder = gap
    record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["models"][GAP]
    assert f"{GAP}.contrasts.csv" in record["outputs"]
    assert "multivariate_fay_herriot" in outcome.text
    # the children without a labour status are no non-response of a rate over ages 20 to 64
    assert not any("labour_status" in line for line in record["log"])
    assert set(outcome.contrasts["run"]) == {record["run"]}


def test_a_two_fold_model_runs(inputs, areas):
    areas.assign(part=list("ABCDE" * 3)[:14]).to_csv(inputs / "areas.csv", index=False)
    text = (inputs / "spec.toml").read_text(encoding="utf-8")
    new = 'kind = "two_fold_fay_herriot"\narea = "part"\nreplicates = 20'
    text = text.replace('kind = "fay_herriot"', new).replace('transform = "arcsin"\n', "")
    (inputs / "spec.toml").write_text(text, encoding="utf-8")
    outcome = run(
        find_spec(inputs / "spec.toml"),
        survey=inputs / "persons.csv",
        areas=inputs / "areas.csv",
        out=inputs / "results",
    )
    assert outcome.table.frame["method"].str.contains("EBLUP").all() and outcome.contrasts is None
    assert outcome.fit.spec == TwoFoldFayHerriot("employment_rate ~ tertiary", area="part", replicates=20)


def test_the_table_of_kinds_holds_every_public_specification():
    public = [getattr(area_level, name) for name in area_level.__all__]
    models = [model for model in public if isinstance(model, type) and issubclass(model, AreaModel)]
    assert {model.kind: model for model in models} == {kind: model_class(kind) for kind in KINDS}
    assert model_class("fay_herriot") is FayHerriot
    assert "domain" not in options("fay_herriot") and "components" in options("multivariate_fay_herriot")


def test_what_a_file_does_not_say_is_the_class_s_own_default():
    spec = parse_spec(BASE + 'kind = "multivariate_fay_herriot"\ncomponents = "birth"\nmethod = "ml"', "mine")
    expected = MultivariateFayHerriot("employment_rate ~ share_tertiary", components="birth", method="ml")
    assert estimator(spec) == expected


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('kind = "multivariate_fay_heriot"', 'did you mean "multivariate_fay_herriot"?'),
        ('kind = "multivariate_fay_herriot"\ntransform = "log"', "an unknown key transform"),
        ('components = "birth"', "an unknown key components; it knows kind, formula"),
        ('vardir = "v"', "an unknown key vardir"),
        ("replicates = 2.5", "replicates = 2.5 cannot be used: it takes a whole number"),
        ("method = true", "method = true cannot be used: it takes text"),
        ('kind = "multivariate_fay_herriot"\ncomponents = "sex"', "components names sex, which"),
    ],
)
def test_options_are_those_of_the_kind(lines, words):
    with pytest.raises(SaeSpecError) as caught:
        parse_spec(BASE + lines, "mine")
    assert words in str(caught.value)


def test_titles_need_no_libraries(tmp_path):
    (tmp_path / "a.toml").write_text('title = "T"\n' + BASE, encoding="utf-8")
    (tmp_path / "b.toml").write_text(BASE, encoding="utf-8")
    assert [title_of(tmp_path / f"{name}.toml") for name in "ab"] == ["T", "b"]


def test_areas_of_another_encoding_are_read(inputs, areas):
    named = areas.assign(name="Ávila")
    named.to_csv(inputs / "areas.csv", index=False, encoding="latin-1")
    text = (inputs / "spec.toml").read_text(encoding="utf-8")
    (inputs / "spec.toml").write_text(text + '[areas]\nencoding = "latin-1"\n', encoding="utf-8")
    outcome = run(
        find_spec(inputs / "spec.toml"),
        survey=inputs / "persons.csv",
        areas=inputs / "areas.csv",
        out=inputs / "results",
    )
    assert set(outcome.fit.areas["name"]) == {"Ávila"}
