"""Sketches know of a survey what a production asks before it estimates."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.batch.production.sketches import MOST, joined_sketch, sketched
from sae.batch.production.spec import parse_production
from sae.design_based.domains import cross_domains
from sae.errors import SaeInputError

TEXT = """
[production]
indicators = ["works", "rooms"]
levels = { region = "region", district = "district", nation = "" }
groups = [["birth"]]
[[survey]]
name = "lfs"
"""
FILE = parse_production(TEXT, "x")


def survey(year, n=3000, **columns):
    rng = np.random.default_rng(year)
    region = rng.integers(0, 300, n)
    frame = pd.DataFrame(
        {
            "w": np.where(rng.random(n) < 0.1, 0.0, 1.0),
            "year": year,
            "region": [f"R{code:03d}" for code in region],
            "district": [f"D{code // 7}" for code in region],
            "birth": pd.Categorical(rng.choice(["native", "foreign"], n), ["native", "foreign", "unknown"]),
            "person": [f"P{row}" for row in range(n)],
            "works": rng.integers(0, 2, n),
            "rooms": np.where(np.arange(n) == n - 1, 7, 1),
            **columns,
        }
    )
    return sae.Survey.from_frame(frame, weights="w", psu="person", time="year")


def test_a_sketch_makes_the_rows_of_its_survey():
    whole = survey(2025)
    sketch = sketched(FILE, whole)
    assert sketch.records == 3000 and len(sketch.survey) < MOST + 700
    assert sketch.survey.design == whole.design and list(sketch.survey.frame) == list(whole.frame)
    for by in (["region", "birth", "year"], ["district"], []):
        mine, theirs = (cross_domains(one, by) for one in (sketch.survey, whole))
        pd.testing.assert_frame_equal(mine.labels, theirs.labels)
        assert mine.place == theirs.place
    columns = ["region", "district"]
    mine, theirs = (
        one.frame[columns].astype(str).drop_duplicates().sort_values(columns).to_numpy().tolist()
        for one in (sketch.survey, whole)
    )
    assert mine == theirs
    assert sketch.answers == {"works": (int((whole.weights > 0).sum()), 0)} | {
        "rooms": (int((whole.weights > 0).sum()), 0)
    }
    assert 7 in set(sketch.survey.frame["rooms"])  # so that it is no yes or no
    assert len(sketch.survey.frame["person"].cat.categories) <= MOST + 700


def test_joined_sketches_are_the_sketch_of_the_joined_files():
    parts = [survey(2024), survey(2025, n=2000, more="a")]
    whole = joined_sketch([sketched(FILE, part) for part in parts], "lfs")
    assert whole.records == 5000 and "more" in whole.survey.frame
    assert whole.answered("works")[0] == sum(int((part.weights > 0).sum()) for part in parts)
    assert sorted(set(whole.survey.frame["year"])) == [2024, 2025]
    assert "5,000 sampling units" in whole.survey.design
    with pytest.raises(SaeInputError, match="hold the period 2025"):
        joined_sketch([sketched(FILE, survey(2025)) for _ in range(2)], "lfs")
    with pytest.raises(SaeInputError, match="birth is text in some"):
        joined_sketch([sketched(FILE, survey(2024)), sketched(FILE, survey(2025, birth=1))], "lfs")


def test_every_level_of_a_column_that_an_indicator_names_is_kept():
    text = TEXT.replace('["works", "rooms"]', '["late"]')
    text += '[[indicator]]\nid = "late"\nnumerator = "person == \'P2999\'"\n'
    whole = survey(2025)
    sketch = sketched(parse_production(text, "x"), whole)
    assert len(sketch.survey.frame["person"].cat.categories) == 3000
    assert sketch.answers["late"] == (int((whole.weights > 0).sum()), 0)
