"""The page of one city: its sentences against the statistics, its peers, and what is hidden."""

import html

import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.publish import city_page, published
from sae.publish.report_catalogue import catalogue
from tests.publish.report_tables import table

WORDS = catalogue()


def page(data, city, folder, **options):
    return html.unescape(city_page(data, city, folder / "city.html", **options).read_text(encoding="utf-8"))


def test_a_page_says_its_figure_range_and_peers(tmp_path):
    data = table()
    row = published(data).frame.query("time == '2024' and city == 'city 005'").iloc[0]
    text = page(
        data, "city 005", tmp_path, select={"time": "2024"}, peers=["city 003", "city 001"], national=0.1
    )
    low, high = (WORDS.figure(row[name], "share") for name in ("ci_low", "ci_high"))
    assert f'<p class="figure">{WORDS.figure(row["estimate"], "share")}</p>' in text
    assert f"The true figure lies between {low} and {high} with 95\u00a0% confidence." in text
    assert "Its whole range lies above the national figure, 10\u00a0%." in text
    assert "city 003" in text and "no figure: confidential" in text and "The figure is for 2024." in text
    assert "<script" not in text and "With its peers; the dashed line is the national figure, 10" in text
    assert "The figure leans on a model" in text and f'<span class="word">{row["reliability"]}</span>' in text


def test_a_hidden_city_says_why_and_nothing_else(tmp_path):
    text = page(table(), "city 001", tmp_path)
    assert "There is no figure for city 001: confidential." in text and "not even their number" in text
    assert text == page(table(estimate=0.2, n=2, se=0.1), "city 001", tmp_path)
    assert "more interviews a period" in page(table(), "city 002", tmp_path)


def test_a_city_or_selection_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SaeInputError, match="no area 'Atlantis' among the 12"):
        page(table(), "Atlantis", tmp_path)
    with pytest.raises(SaeSpecError, match="time = 1999"):
        page(table(), "city 005", tmp_path, select={"time": "1999"})
    with pytest.raises(SaeSpecError, match="nothing to choose"):
        page(table(), "city 005", tmp_path, select={"sex": "F"})
