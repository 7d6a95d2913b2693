"""The method note: what it says of a fit and of a table; no hidden figure is in it, no label is markup."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.publish import method_note

NUMBERS = [
    "n",
    "direct",
    "direct_se",
    "direct_cv",
    "estimate",
    "mse",
    "se",
    "cv",
    "ci_low",
    "ci_high",
    "gamma",
]


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(1)
    n = np.array([1, 2, 3, *rng.integers(40, 300, 27)])
    frame = pd.DataFrame(
        {"domain": [f"A{k:02d}" for k in range(30)], "x": rng.random(30), "n": n, "n_eff": n}
    )
    frame["employment_rate"] = np.clip(0.4 + 0.3 * frame["x"] + rng.normal(0, 0.08, 30), 0, 1)
    model = sae.FayHerriot("employment_rate ~ x", transform="arcsin")
    return model.fit(frame, seed=7).benchmark(0.55, weights="n").flag("eurostat_lfs")


def note(data, folder, **options):
    return method_note(data, folder / "note.md", **options).read_text(encoding="utf-8")


def test_it_says_what_how_by_which_rule_and_what_not(fit, tmp_path):
    text = note(fit, tmp_path, title="Cities", source="EU-LFS 2024")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings == [
        "Cities",
        "What was estimated",
        "Where the figures come from",
        "The model",
        "How sure the figures are",
        "Benchmark",
        "Which figures appear",
        "What may not be concluded",
        "To make them again",
    ]
    for part in (
        "**Rows**: 30, of which 27 have a figure",
        "**Source**: EU-LFS 2024",
        r"employment\_rate \~ x",
        "**Transformation**: arcsin",
        "Fay and Herriot (1979), JASA 74, 269–277",
        "parametric bootstrap",
        "**Level**: 95 %",
        "to 1 known figure by the method ratio",
        "Regulation (EU) 2019/2240",
        "below 4 withheld as confidential",
        "| :c | withheld: confidential | 3 |",
        "**Seed**: 7",
        fit.provenance["run"],
        'formula = "employment_rate ~ x"',
    ):
        assert part in text, part
    assert "examples" not in text.lower() and ">>>" not in text


def test_no_byte_depends_on_a_figure_that_does_not_appear(fit, tmp_path):
    before, frame = note(fit, tmp_path), fit.estimates.frame
    for seed in range(3):
        rng, columns = np.random.default_rng(seed), {}
        for name in NUMBERS:
            values = frame[name].to_numpy(dtype=float, na_value=np.nan).copy()
            values[:3] = rng.integers(2, 4, 3) if name == "n" else rng.uniform(0.1, 0.9, 3)
            columns[name] = values
        assert note(replace(fit, estimates=fit.estimates.assign(**columns)), tmp_path) == before


def test_records_are_summed_over_rows_with_a_figure_and_roughly(fit, tmp_path):
    total = int(fit.estimates["n"][3:].sum())
    text = note(fit, tmp_path)
    told = int(re.search(r"about ([\d,]+) records in the 27 rows", text)[1].replace(",", ""))
    assert abs(told - total) <= 0.005 * total and told % 10 == 0
    few = sae.EstimateTable(fit.estimates.frame.iloc[:7])
    assert "records in the 4 rows" not in note(few, tmp_path) and "**Sample**" not in note(few, tmp_path)


def test_a_table_tells_what_it_knows(fit, tmp_path):
    text = note(fit.estimates, tmp_path)
    assert "# How these figures were made" in text and "**Source**: not given" in text
    assert "**Benchmark**: The estimates were adjusted to known figures." in text
    assert "toml" not in text and "**Reference**" not in text


def test_no_label_is_markup(tmp_path):
    rows = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.61, 0.7], "se": 0.02})
    rows = rows.assign(indicator="<script>|*a*\n# b", policy="_own_", publishable=True, run="[x](y)")
    text = note(sae.EstimateTable(rows), tmp_path, title="a\n# b", source="`rm`")
    assert "<script>" not in text and "\n# b" not in text
    assert r"**Indicator**: &lt;script&gt;\|\*a\* \# b" in text
    assert r"**Run**: \[x\](y)" in text and r"\_own\_" in text and r"\`rm\`" in text


def test_what_no_note_can_be_made_of_is_refused(fit, tmp_path):
    with pytest.raises(SaeInputError, match=r"does not end in .md"):
        method_note(fit, tmp_path / "note.txt")
    with pytest.raises(SaeSpecError, match="not a DataFrame"):
        method_note(fit.to_frame(), tmp_path / "note.md")
    with pytest.raises(SaeInputError, match="30 of 30 rows were not judged"):
        method_note(fit.estimates.assign(policy=""), tmp_path / "note.md")
    assert not (tmp_path / "note.md").exists()


@pytest.fixture(scope="module")
def ebp():
    """Several indicators, levels and groups of the same 96 units."""
    rng = np.random.default_rng(2)
    people = pd.DataFrame({"area": np.repeat([f"A{k}" for k in range(8)], 40), "age": rng.normal(size=320)})
    people["region"] = np.where(people["area"] < "A4", "east", "west")
    people["birth"] = np.where(rng.random(320) < 0.5, "foreign", "native")
    people["income"] = np.exp(
        11 + 0.3 * people["age"] + np.repeat(0.2 * rng.normal(size=8), 40) + 0.1 * rng.normal(size=320)
    )
    model = sae.EBP(
        "income ~ age",
        domain="area",
        transform="log",
        indicators=["mean", "head_count", "gini"],
        threshold=55_000.0,
        draws=20,
        levels="region",
        groups="birth",
        replicates=5,
    )
    return model.fit(people.groupby("area").head(12), areas=people, seed=1).flag("statcan")


def test_records_behind_several_rows_count_once(ebp, tmp_path):
    assert "about 96 records in the" in note(ebp, tmp_path)


def test_units_go_with_their_indicators(ebp, tmp_path):
    line = next(line for line in note(ebp, tmp_path).splitlines() if "Unit" in line)
    assert line == "- **Unit**: as in the records (mean); share (head\\_count); index (gini)"


def test_a_page_of_an_area_whose_covariates_are_those_of_units(ebp, tmp_path):
    path = sae.publish.city_page(ebp, "A3", tmp_path / "a.html")
    assert "A3" in path.read_text(encoding="utf-8")
