"""Pooled periods and a stated population in a model file; committed models of public labour force files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.runner import read_records, run
from sae.batch.spec import parse_spec, read_spec
from sae.errors import SaeInputError, SaeSpecError

MODELS = Path(__file__).parents[2] / "models"
SPEC = """
title = "Employment by year"
[survey.columns]
weights = "w"
household = "home"
time = "t"
[estimate]
by = ["year"]
[estimate.indicator]
id = "employed"
numerator = "employed"
[publish]
policy = "eurostat_silc"
"""


@pytest.fixture
def file(tmp_path):
    quarters = np.repeat([f"2021Q{q}" for q in range(1, 5)], 3)
    frame = pd.DataFrame({"t": quarters, "home": [1, 2, 3] * 4, "w": 10.0, "employed": [1, 0, 1] * 4})
    frame.to_csv(tmp_path / "persons.csv", index=False)
    return tmp_path / "persons.csv"


def read(text, file, by="year"):
    changed = SPEC.replace("[survey.columns]", f"{text}\n[survey.columns]").replace('"year"', f'"{by}"')
    return read_records(parse_spec(changed, "m", file.parent), file)


def test_the_model_file_pools(file):
    linked = read('[survey.pool]\npanel = "linked"', file)
    assert linked.panel == "linked" and linked.weights.tolist() == [2.5] * 12
    overlap = "shares = [0.5, 0, 0]\ncorrelations = [0.8, 0, 0]"
    stated = read(f'[survey.pool]\npanel = "overlap"\n{overlap}', file)
    assert stated.stages[0].inflation.tolist() == [1.6] * 12
    with pytest.raises(SaeSpecError, match="Shares and correlations belong to"):
        read(f'[survey.pool]\npanel = "independent"\n{overlap}', file)
    with pytest.raises(SaeSpecError, match="linked"):
        read('[survey.pool]\npanel = "linkd"', file)
    with pytest.raises(SaeInputError, match="stated as 99"):
        read("[survey]\npopulation = 99", file, by="t")
    assert len(read("[survey]\npopulation = 30", file, by="t")) == 12


@pytest.mark.parametrize(
    ("model", "name", "rows"),
    [
        ("spain_unemployment_by_province", "es_epa2021q1_persons.csv.gz", 52 * 2 * 3),
        ("france_activity_by_birth", "fr_eulfs_puf_sample50k.csv.gz", 2 * 2 * 4 * 10),
        ("chile_unemployment_by_region", "cl_ene2020_persons.csv.gz", 16 * 2),
    ],
)
def test_committed_models_run_from_file_to_table(shared_data, tmp_path, model, name, rows):
    run(read_spec(MODELS / f"{model}.toml"), survey=shared_data / "real" / name, out=tmp_path / "out")
    table = sae.tables.read_table(tmp_path / "out" / f"{model}.csv")
    assert len(table) == rows and table["estimate"].between(0, 1).sum() >= 0.9 * rows


def test_a_wrong_release_ends_before_anything_is_written(shared_data, tmp_path):
    text = (
        (MODELS / "france_activity_by_birth.toml").read_text(encoding="utf-8").replace("lfs_puf", "lfs_2020")
    )
    spec = parse_spec(text, "wrong", tmp_path)
    with pytest.raises(SaeInputError, match="eu_lfs_puf"):
        run(spec, survey=shared_data / "real/fr_eulfs_puf_sample50k.csv.gz", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
