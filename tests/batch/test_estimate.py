"""The corridor from records to published rows: what is evaluated on the records, and how often."""

from collections import Counter

import pytest

import sae.batch.estimate
import sae.batch.targets
import sae.indicators.evaluate
from sae.batch.runner import run
from sae.batch.spec import read_spec

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
    count(sae.indicators.evaluate, "evaluate", lambda expression, frame: expression, expressions)
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
