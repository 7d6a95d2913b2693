"""The six questions answered for Argentine cities and for US states, by the statistics of their tables."""

import html
import re

import pytest

import sae
from sae.publish import city_page, published, report
from sae.publish.report_catalogue import catalogue
from tests.publish.report_real import CENSUS, INDEC, cities, states
from tests.publish.test_report_page import answers_of, embedded

WORDS = catalogue()


@pytest.fixture(scope="module")
def argentina(shared_data):
    return cities(shared_data)


@pytest.fixture(scope="module")
def america(shared_data):
    return states(shared_data)


def figure(value):
    return WORDS.figure(value, "share")


def test_argentine_cities(argentina, tmp_path):
    table, names = argentina
    text = report(table, tmp_path / "r.html", source=INDEC, area="city", names=names, seed=1).read_text(
        "utf-8"
    )
    said = answers_of(text)
    rows = published(table).frame
    frame = table.frame.assign(shown=rows["estimate"].notna(), figure=rows["estimate"])
    own = frame.query("indicator == 'employment_rate' and birth == 'foreign' and time == '2014Q3'")
    shown = own[own["shown"]]
    assert len(own) == 32 and 20 < len(shown) < 32
    top, last = (names[shown.loc[at, "city"]] for at in (shown["figure"].idxmax(), shown["figure"].idxmin()))
    assert said["How high is it?"] == (
        f"Employment rate, 20–64, foreign: from {figure(shown['figure'].min())} ({last}) to "
        f"{figure(shown['figure'].max())} ({top}) in the {len(shown)} areas with a figure; half of them have "
        f"{figure(shown['figure'].median())} or less."
    )
    assert f"no figure: {len(own) - len(shown)} of 32 areas." in said["How sure are we?"]
    assert "95\u00a0% confidence" in said["How sure are we?"]
    assert f"Of {len(shown)} areas, compared with the median" in said["How do we compare, and with whom?"]
    both = frame.query("indicator == 'employment_rate' and birth == 'foreign' and shown")
    moved = sae.compare.changes(both.assign(domain=both["city"]))["verdict"]
    counts = [int((moved == word).sum()) for word in ("rose", "fell", "cannot be told apart")]
    assert "{} surely rose, {} surely fell, {} not".format(*counts) in said["Since when?"]
    assert "no league table" in said["What may I not conclude?"]
    assert f"Source: {INDEC}. Method: figures of a model" in said["Where do the figures come from?"]
    hidden = {names[city] for city in own.loc[~own["shown"], "city"]}
    first = embedded(text)["slices"][0]
    bare = {
        embedded(text)["texts"]["area"][area]
        for area, value in zip(first["area"], first["estimate"], strict=True)
        if value is None
    }
    assert bare == hidden and bare


def test_masked_figures_of_argentine_cities_are_nowhere(argentina, tmp_path):
    """Other figures of the rows that may not appear change not a byte."""
    table, names = argentina
    hidden = published(table).frame["estimate"].isna()
    figures = {name: table.frame[name].where(~hidden, 0.123) for name in ("estimate", "ci_low", "ci_high")}
    other = table.frame.assign(**figures)
    pages = [
        report(one, tmp_path / "r.html", area="city", names=names, seed=1, language="es").read_bytes()
        for one in (table, sae.EstimateTable(other, table.groups))
    ]
    assert pages[0] == pages[1]


def test_american_states_by_nativity(america, tmp_path):
    text = report(america, tmp_path / "r.html", source=CENSUS, area="domain", seed=1).read_text("utf-8")
    said = answers_of(text)
    rows = america.estimates.frame.query("group == 'foreign_born' and time == '2018'")
    seen = published(america.estimates).frame.loc[rows.index]
    width = WORDS.width(0.0, (seen["ci_high"] - seen["ci_low"]).max(), "share")
    assert "foreign born: from 51\u00a0% (Puerto Rico) to 71.4\u00a0% (Maryland)" in said["How high is it?"]
    assert f"the widest {width} (North Dakota)" in said["How sure are we?"]
    matrix = re.search(r"told apart: (\d+) of 1,326", said["How do we compare, and with whom?"])
    assert 700 < int(matrix[1]) < 850
    assert "4 periods, 2014 to 2018" in said["Since when?"]
    data = embedded(text)
    assert data["periods"] == ["2014", "2015", "2016", "2017", "2018"]  # the year between is seen as a gap
    assert {data["texts"]["since"][code] for code in data["slices"][1]["since"]} == {"2015"}
    assert "employed ~ all_residents" in said["Where do the figures come from?"]


def test_a_state_has_the_states_most_like_it_beside_it(america, tmp_path):
    path = city_page(america, "Alaska", tmp_path / "c.html", area="domain", select={"group": "foreign_born"})
    text = html.unescape(path.read_text("utf-8"))
    frame = america.estimates.frame.assign(all_residents=america.column("all_residents"))
    rows = frame.query("group == 'foreign_born' and time == '2018'")
    near = sae.compare.peers(rows, "Alaska", ["all_residents"], k=4)["domain"].tolist()
    assert re.findall(r'<th scope="row">(?:<b>)?(.*?)(?:</b>)?</th>', text) == near
    assert (
        "the areas most like it in all residents" in text and "Whether it changed since 2017 cannot" in text
    )
