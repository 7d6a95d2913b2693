"""The catalogue in every language: the same keys and braces, figures as they are written, whole reports."""

import html
import re

import pytest

from sae.errors import SaeSpecError
from sae.indicators import REGISTRY
from sae.publish import city_page, published, report
from sae.publish.report_catalogue import LANGUAGES, catalogue
from sae.publish.table import _REASONS, UNJUDGED
from sae.quality import load_policy, policy_names
from sae.quality.appearance import PROTECTING
from tests.publish.report_tables import SECRET, table
from tests.publish.test_report_page import answers_of, embedded

ENGLISH = catalogue("en")
DRAFTS = [language for language in LANGUAGES if language != "en"]


def braces(text):
    return sorted(re.findall(r"\{(\w*)\}", text))


@pytest.mark.parametrize("language", DRAFTS)
def test_every_key_stands_in_each_language_with_the_same_braces(language):
    words = catalogue(language)
    assert words.draft and words.text("draft_note") and not ENGLISH.draft
    assert list(words.parts) == [*ENGLISH.parts, "indicators"]
    assert list(words.parts["indicators"]) == list(REGISTRY) and len(
        set(words.parts["indicators"].values())
    ) == len(REGISTRY)
    for name, part in ENGLISH.parts.items():
        assert list(words.parts[name]) == list(part), name
        for key, text in part.items():
            if name != "language":
                assert braces(words.text(key)) == braces(text), key
                same = words.parts[name][key] == text and len(re.sub(r"\{\w+\}|\W", "", text)) > 10
                assert not same, f"{key} is English"


def test_no_key_stands_in_two_sections():
    keys = [key for name, part in ENGLISH.parts.items() if name not in ("language", "terms") for key in part]
    assert len(keys) == len(set(keys)) and not set(keys) & {"domain", "geo", "share"}


def test_the_words_of_every_shipped_policy_are_terms():
    words = {word for name in policy_names() for word in load_policy(name).words}
    assert words | {*_REASONS.values(), UNJUDGED, PROTECTING} <= set(ENGLISH.parts["terms"])


@pytest.mark.parametrize(
    ("language", "share", "euro", "width"),
    [
        ("en", "62.3\u00a0%", "18,200.5 EUR", "1 percentage point"),
        ("de", "62,3\u00a0%", "18.200,5 EUR", "1 Prozentpunkt"),
        ("fr", "62,3\u00a0%", "18\u202f200,5 EUR", "1 point de pourcentage"),
        ("es", "62,3\u00a0%", "18\u202f200,5 EUR", "1 punto porcentual"),
        ("pt", "62,3\u00a0%", "18\u202f200,5 EUR", "1 ponto percentual"),
    ],
)
def test_figures_as_they_are_written(language, share, euro, width):
    words = catalogue(language)
    assert (words.figure(0.6234, "share"), words.figure(18200.5, "EUR")) == (share, euro)
    assert words.width(0.6, 0.61, "share") == width and words.width(0.6, 0.625, "share").startswith("2")
    assert words.count("areas", 1).startswith("1 ") and words.count("areas", 1) != words.count("areas", 2)


@pytest.mark.parametrize("language", LANGUAGES)
def test_six_sentences_hold_the_figures_in_each_language(language, tmp_path):
    data, words = table(), catalogue(language)
    path = report(data, tmp_path / "r.html", seed=1, source="A survey", cost=40.0, language=language)
    text = path.read_text(encoding="utf-8")
    said = answers_of(text)
    assert list(said) == [words(f"ask_{key}") for key in ("high", "sure", "whom", "when", "not", "where")]
    rows = published(data).frame.query("time == '2025'").dropna(subset="estimate")
    high, sure, whom, when, not_, where = said.values()
    for value in (rows["estimate"].min(), rows["estimate"].max()):
        assert words.figure(value, "share") in high
    width = (rows["ci_high"] - rows["ci_low"]).median()
    assert words.width(0.0, width, "share") in sure and words.figure(0.95, "share") in sure
    middle = rows["estimate"].median()
    above, below = int((rows["ci_low"] > middle).sum()), int((rows["ci_high"] < middle).sum())
    assert [str(above), str(below)] == re.findall(r"(?<![\d.,])\d+(?![\d.,])", whom.partition(":")[2])[:2]
    assert "2024" in when and "2025" in when and "A survey" in where and len(not_) > 100
    assert f'<html lang="{language}">' in text and ('class="draft"' in text) == (language != "en")
    assert words("draft_note") in html.unescape(text)
    assert embedded(text)["words"]["close"] == words("close")
    secrets = [f"{SECRET:.3f}"[1:], f"{100 * SECRET:.1f}"]
    assert not any(secret.replace(".", sign) in text for secret in secrets for sign in ".,")
    page = city_page(data, "city 005", tmp_path / "c.html", language=language).read_text(encoding="utf-8")
    row = rows.set_index("city").loc["city 005"]
    assert words.figure(row["estimate"], "share") in html.unescape(page)
    assert language == "en" or words("draft_note") in html.unescape(page)


def test_a_language_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SaeSpecError, match="language='it': reports are not written in it"):
        report(table(), tmp_path / "r.html", language="it")
