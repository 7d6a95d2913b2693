"""The corridor from records to published rows: what is evaluated on the records, and how often."""

from collections import Counter

import numpy as np
import pytest

import sae.batch.estimate
import sae.batch.targets
import sae.indicators.parts
from sae.batch.runner import run
from sae.batch.spec import read_spec
from sae.errors import SaeSpecError

OF_THE_FILE = """universe = "age >= 18"
[estimate.indicator]
id = "hours"
numerator = "age * 2 + 1"
denominator = "age + 3"
universe = "age < 66"
"""


@pytest.fixture
def calls(monkeypatch):
    """Counts of what is evaluated and of what is crossed during a test."""

    def count(module, name, key, counts):
        original = getattr(module, name)

        def counted(*arguments):
            counts[key(*arguments)] += 1
            return original(*arguments)

        monkeypatch.setattr(module, name, counted)

    expressions, crossings = Counter(), Counter()
    count(sae.indicators.parts, "evaluate", lambda expression, *_: expression, expressions)
    for module in (sae.batch.estimate, sae.batch.targets):
        count(module, "cross_domains", lambda survey, by: tuple(by), crossings)
    return expressions, crossings


@pytest.mark.parametrize("own", [False, True], ids=["registered rate", "ratio of the file"])
def test_a_run_evaluates_its_indicator_and_crosses_its_domains_once(inputs, calls, own):
    """Benchmarked to the survey's own figure, by weights that the survey counts: both read the records."""
    text = (inputs / "spec.toml").read_text(encoding="utf-8").replace('weights = "population"\n', "")
    expected = {"labour_status == 'employed'", "20 <= age <= 64"}
    if own:
        text = text.replace('indicator = "employment_rate"\n', "").replace('transform = "arcsin"\n', "")
        text = text.replace("employment_rate ~", "hours ~")
        text = text.replace('smoothing = "gvf"\n', f'smoothing = "deff"\n{OF_THE_FILE}')
        expected = {"age * 2 + 1", "age + 3", "(age < 66) and (age >= 18)"}
    (inputs / "spec.toml").write_text(text, encoding="utf-8")
    outcome = run(
        read_spec(inputs / "spec.toml"),
        survey=inputs / "persons.csv",
        areas=inputs / "areas.csv",
        out=inputs / "out",
    )
    assert outcome.table.frame["benchmark_factor"].notna().all()
    expressions, crossings = calls
    assert expressions == Counter(expected)
    assert crossings == Counter([("region",), ()])


@pytest.mark.parametrize("model", [True, False], ids=["model", "direct"])
def test_a_break_runs_by_name_only_and_its_rows_bear_the_flag_b(persons, tmp_path, model):
    text = """
[survey.columns]
weights = "w"
time = "year"
[survey.codes.labour_status]
column = "status"
employed = [1]
unemployed = [2]
inactive = [3]
[estimate]
indicator = "employment_rate"
by = ["region"]
time = "year"
"""
    text += '[model]\nformula = "employment_rate ~ 1"\nper = "year"\nmse = "analytical"\n' if model else ""
    frame = persons.assign(year=np.where(np.arange(len(persons)) % 2, 2020, 2021))
    survey = tmp_path / "persons.csv"
    frame.to_csv(survey, index=False)
    (tmp_path / "rates.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SaeSpecError, match=r'across lfs_2021 .*\n.*\[estimate\] accept = \["lfs_2021"\]'):
        run(read_spec(tmp_path / "rates.toml"), survey=survey, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    accepted = text.replace('by = ["region"]', 'by = ["region"]\naccept = "lfs_2021"')
    (tmp_path / "rates.toml").write_text(accepted, encoding="utf-8")
    outcome = run(read_spec(tmp_path / "rates.toml"), survey=survey, out=tmp_path / "out")
    table = outcome.table.frame
    later = table["time"] == "2021"
    assert later.any() and not later.all()
    assert table.loc[later, "flag"].str.endswith("b").all()
    assert table.loc[later, "reason"].str.contains("break lfs_2021").all()
    assert not table.loc[~later, "flag"].str.contains("b").any()
    assert outcome.direct["status"].str.endswith("break lfs_2021").sum() == later.sum()
