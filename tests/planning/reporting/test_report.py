"""The report on a plan: ten contents, figures that are those of the plan, nothing dropped in silence."""

import re
from html.parser import HTMLParser

import numpy as np
import openpyxl
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError
from sae.planning import CV, Regulation, ReportDetails, Target, allocate, national_check, oversample, report
from sae.planning.reporting.tables import shown

D = 24
ABOUT = ReportDetails(
    title="Cities <b>&</b> regions",
    indicator="employment rate",
    group="the foreign-born",
    domain="city",
    currency="EUR",
    frame="register, 2025",
    density="census, 2021",
    costs="contract, 2025",
    response="LFS, 2024",
    calibration="population by city",
    policy="statcan",
    seed=3,
    inputs={"frame: f.csv": "ab12"},
    versions={"sae": "0.1.0"},
)


@pytest.fixture(scope="module")
def plan():
    """24 cities with direct estimates of known model variance, two density strata each."""
    rng = np.random.default_rng(8)
    x = rng.uniform(0, 1, D)
    n = rng.integers(15, 120, D)
    level = 0.4 + 0.25 * x
    vardir = 1.5 * level * (1 - level) / n
    y = level + rng.normal(0, 0.03, D) + rng.normal(0, np.sqrt(vardir))
    cities = [f"C{i:02d}" for i in range(D)]
    data = pd.DataFrame({"domain": cities, "y": y, "x": x, "vardir": vardir, "n": n})
    fit = sae.FayHerriot("y ~ x").fit(data).flag("statcan")
    frame = pd.DataFrame(
        {
            "stratum": [f"{city} {kind}" for city in cities for kind in ("dense", "thin")],
            "domain": np.repeat(cities, 2),
            "population": np.tile([4_000, 30_000], D),
            "density": np.tile([0.35, 0.04], D),
            "cost": 40.0,
            "screening_cost": 2.0,
            "response": 0.6,
        }
    )
    frame.loc[frame["domain"] == "C03", "population"] = [60, 200]  # hardly any members: no budget suffices
    return oversample(fit, frame, targets={**dict.fromkeys(cities[1:], CV(0.07)), "C03": CV(0.02)})


@pytest.fixture(scope="module")
def made(plan):
    national = national_check(plan, Regulation("lfs_employment_national"), mean=0.5, size=5e6)
    return report(plan, ABOUT, national=national)


def sheets(workbook):
    return {
        sheet.title: pd.DataFrame(
            [[cell.value for cell in row] for row in sheet.iter_rows(min_row=3)],
            columns=[cell.value for cell in sheet[2]],
        )
        for sheet in workbook.worksheets
        if sheet.title != "read first"
    }


class Page(HTMLParser):
    """Collect the open tags, the text, and what a page would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.words, self.tags = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_all_ten_contents_are_there_in_order(made):
    titles = [section.title for section in made.sections]
    assert len(titles) == 10
    assert [title.split()[-1] for title in titles] == [
        "for",
        "today",
        "assumed",
        "recommended",
        "give",
        "estimates",
        "burden",
        "afterwards",
        "enough",
        "again",
    ]
    assert all(section.text for section in made.sections)
    assert "Cities that no budget" in titles[8]


def test_page_is_whole_and_loads_nothing(made):
    page = Page(made.page())
    assert not page.open
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert all(value.startswith(("#", "data:image/svg+xml;base64,")) for value in page.loads)
    assert sum(value.startswith("data:") for value in page.loads) == 3
    assert "Cities <b>&</b> regions" in page.words  # escaped in the source, a title to the reader
    assert "<b>&</b>" not in made.page()


def test_tables_of_the_workbook_hold_the_figures_of_the_plan(made, plan, tmp_path):
    made.write(tmp_path, "cities")
    book = openpyxl.load_workbook(tmp_path / "cities.xlsx")
    tables = sheets(book)
    domains = tables["domains"]
    assert domains["City"].tolist() == list(plan.domains["domain"])
    np.testing.assert_allclose(domains["Recommended"], plan.domains["n_model"])
    np.testing.assert_allclose(
        domains["CV with the model"].astype(float), plan.domains["model_cv"], rtol=1e-12
    )
    strata = tables["strata"]
    assert strata["Recommended"].sum() == plan.with_model.n.sum()
    assert strata["Cost"].sum() == pytest.approx(plan.cost)
    second = zip(book["domains"][2], book["domains"][4], strict=True)  # C01: C00 has no target
    formats = {cell.value: below.number_format for cell, below in second}
    assert formats["CV required"] == "0.0%" and formats["Recommended"] == "#,##0"
    assert book.worksheets[0].title == "read first"


def test_files_are_the_tables_of_the_plan_and_the_same_bytes_again(made, plan, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files = made.write(tmp_path / name, "cities")
    endings = {path.name.removeprefix("cities") for path in files}
    assert endings == {".html", ".xlsx", ".csv", ".parquet", ".domains.csv", ".domains.parquet"}
    for path in files:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes(), path.name
    strata = pd.read_parquet(tmp_path / "a" / "cities.parquet")
    assert strata["n"].tolist() == plan.strata["n"].tolist()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(path.name for path in files)


def test_figures_at_the_top_are_those_of_the_tables(made, plan):
    asked = plan.domains["rule"] != ""
    first, second, third, _ = made.headline
    assert first[0] == f"{int((made.domains['met'] & asked).sum())} of {D - 1}"
    assert made.domains["met"].equals(plan.domains["met"])
    assert second[0] == f"{plan.strata['n'].sum():,} interviews"
    assert third[0] == f"EUR {plan.cost:,.0f}"
    pattern = r"([\d,]+) added and ([\d,]+) taken away, ([+-][\d,]+) net, against the ([\d,]+) of today"
    added, removed, net, now = (
        int(part.replace(",", "")) for part in re.fullmatch(pattern, second[1]).groups()
    )
    assert net == added - removed == plan.strata["n"].sum() - round(plan.strata["n_now"].sum())
    assert removed == round(plan.strata["removed"].sum()) and now == round(plan.strata["n_now"].sum())


def test_every_city_with_a_target_has_its_sentence_with_its_own_interval(made, plan):
    (table,) = (table for table in made.sections[3].tables if table.name == "sentences")
    assert table.frame["domain"].tolist() == [name for name in plan.cells.domains if name != "C00"]
    worth = plan.worth.set_index("domain")
    for domain, sentence in table.frame[["domain", "sentence"]].itertuples(index=False):
        assert sentence.startswith(f"Over cities like {domain} the model is worth")
        if "95 % interval" in sentence:
            low = float(re.search(r"interval ([\d,]+) to", sentence)[1].replace(",", ""))
            assert low == pytest.approx(
                worth.loc[domain, "worth_low"], rel=0.06, abs=0.5
            )  # told to two digits
    assert set(made.quotations) <= set(table.frame["sentence"])


def test_hopeless_cities_are_named_with_the_reason_and_have_no_direct_number(made):
    section = made.sections[8]
    (table,) = section.tables
    assert "C03" in table.frame["domain"].tolist()
    assert table.frame["reason"].str.startswith("no budget suffices").all()
    (domains,) = (table for table in made.sections[3].tables if table.name == "domains")
    assert np.isnan(domains.frame.set_index("domain").loc["C03", "n_direct"])


def test_other_rules_spread_the_same_number_of_interviews(made, plan):
    (rules,) = (table.frame for table in made.sections[4].tables if table.name == "other_rules")
    same = rules[rules["rule"] != "cheapest without the model"]
    assert set(same["interviews"]) == {int(plan.with_model.n.sum())}
    assert {"power q = 0.5", "Costa–Satorra–Ventura k = 0.5", "Longford q = 0, G = 1"} <= set(rules["rule"])
    proportional = rules.set_index("rule").loc["Costa–Satorra–Ventura k = 1", "total_deff"]
    assert proportional < rules.set_index("rule").loc["this plan", "total_deff"]
    # the plan meets more targets with the model than any rule of thumb with as many interviews
    assert same["met_model"].max() == same["met_model"].iloc[0]


def test_frontier_of_the_report_runs_from_the_least_to_all(made, plan):
    (frontier,) = (table.frame for table in made.sections[4].tables if table.name == "frontier")
    assert frontier["budget"].is_monotonic_increasing
    assert frontier["budget"].iloc[0] == pytest.approx(plan.cells.cost @ plan.cells.lower)
    assert (frontier["publishable_model"] >= frontier["publishable_direct"]).all()


def test_requirement_is_told_in_words(made):
    told = " ".join(made.sections[5].text)
    assert "lfs_employment_national" in told and ("is met" in told or "is not met" in told)


def test_an_exempt_nation_is_not_told_to_miss_its_requirement(plan):
    small = national_check(plan, Regulation("lfs_employment_national"), mean=0.5, size=2e5)
    told = " ".join(report(plan, ABOUT, national=small).sections[5].text)
    assert "asks nothing of a population of this size" in told and "not met" not in told


def test_what_is_not_known_is_said_and_not_dropped(plan):
    bare = report(plan)
    missing = {
        i for i, section in enumerate(bare.sections, 1) for text in section.text if "Not given:" in text
    }
    assert missing == {1, 3, 4, 6, 8, 10}  # policy; sources; confirmation; requirement; totals; hashes
    told = " ".join(bare.sections[2].text)
    assert all(words in told for words in ("frame", "density", "costs", "response rates"))
    assert all(
        words.startswith("Not given:") or "Not given:" not in words for s in bare.sections for words in s.text
    )


def test_report_without_a_model_has_the_same_ten_contents():
    frame = pd.DataFrame(
        {
            "stratum": ["north", "south", "east"],
            "population": [60_000, 40_000, 5_000],
            "n_now": [100, 80, 5],
            "share_employed": [0.6, 0.5, 0.7],
            "cost": 30.0,
        }
    )
    made = report(allocate(frame, Target("employed", CV(0.05), by="stratum")), ReportDetails(currency="EUR"))
    assert len(made.sections) == 10 and made.headline[0][0] == "3 of 3"
    # what one stratum loses does not hide in what another gains
    fewer = frame.assign(n_now=[2_000, 80, 5])
    changed = report(allocate(fewer, Target("employed", CV(0.05), by="stratum")), ReportDetails())
    n = changed.strata["n"].tolist()
    words = f"{sum(n[1:]) - 85:,} added and {2_000 - n[0]:,} taken away, {sum(n) - 2_085:+,} net"
    assert words in changed.headline[1][1] and words in " ".join(changed.sections[3].text)
    (strata,) = (t.frame for s in changed.sections for t in s.tables if t.name == "strata")
    assert strata["removed"].tolist() == [2_000 - n[0], 0, 0] and "Taken away" in changed.page()
    told = [text for section in made.sections for text in section.text]
    assert any("Not given: a fitted model" in text for text in told)
    assert not Page(made.page()).open
    assert made.strata["n"].sum() == sum(
        table.frame["n"].sum() for s in made.sections for table in s.tables if table.name == "strata"
    )


def test_only_a_plan_has_a_report(plan):
    with pytest.raises(SaeSpecError, match="made of a plan, not of DataFrame"):
        report(plan.domains)
    frame = pd.DataFrame({"stratum": ["a"], "population": [900], "share_y": [0.4]})
    direct_only = allocate(frame, Target("y", CV(0.1)))
    with pytest.raises(SaeSpecError, match="plan from a fitted model"):
        report(direct_only, national=pd.DataFrame())


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (0.1234, "percent", "12.3\u202f%"),
        (-4.0, "count", "−4"),
        (-0.3, "count", "0"),
        (np.inf, "count", "unlimited"),
        (pd.NA, "count", "–"),
        (None, "text", "–"),
        ("CV <= 10 %", "text", "CV ≤\u202f10\u202f%"),
        (1234567.8, "money", "1,234,568"),
        (0.000123, "small", "0.000123"),
        (False, "text", "no"),
    ],
)
def test_cells_are_read_as_people_write(value, kind, told):
    assert shown(value, kind) == told


def test_old_names_answer_with_the_new_ones(plan, made):
    with pytest.raises(SaeSpecError, match=r"Use sae\.planning\.ReportDetails"):
        sae.planning.About  # noqa: B018
    with pytest.raises(AttributeError, match=r"it has .*ReportDetails"):
        sae.planning.Abuot  # noqa: B018
    for owner, old, new in (
        (plan, "told", "sentences"),
        (made, "facts", "headline"),
        (made, "quotes", "quotations"),
    ):
        with pytest.raises(AttributeError, match=new):
            getattr(owner, old)
