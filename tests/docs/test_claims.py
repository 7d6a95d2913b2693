"""Every claim of the README has its page, whose tests exist and whose proof runs when the site is built."""

import re

import pytest

from tests.docs import pages

README = (pages.ROOT / "README.md").read_text(encoding="utf-8")
FOLDER = pages.ROOT / "docs" / "claims"
TABLE = re.search(r"^## What is proven, and where\n(.*?)^(?!\||\n)", README, re.MULTILINE | re.DOTALL).group(
    1
)
ROWS = [
    tuple(cell.strip() for cell in row) for row in re.findall(r"^\|([^|]+)\|([^|]+)\|$", TABLE, re.MULTILINE)
]
CLAIMS = ROWS[2:] if ROWS[1][0].startswith("-") else ROWS[1:]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}


def test_the_table_is_read():
    assert len(CLAIMS) >= 6
    assert CLAIMS[0][0].startswith("direct estimates")


@pytest.mark.parametrize(("claim", "proof"), CLAIMS)
def test_every_row_has_its_page(claim, proof):
    found = [text for text in PAGES.values() if f"\n> {claim}\n" in text]
    assert len(found) == 1, f"no page of docs/claims quotes: {claim}"
    assert set(re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", proof)) <= {
        name.rstrip("/") for name in re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", found[0])
    } | {"benchmarks/accuracy"}
    assert "assert " in found[0]


def test_every_page_quotes_a_claim_of_today():
    quoted = re.findall(r"^> (.+)$", "\n".join(PAGES.values()), re.MULTILINE)
    assert sorted(quoted) == sorted(claim for claim, _ in CLAIMS)


def test_every_sentence_is_in_the_readme():
    sentences = re.findall("“(.+?)”", PAGES["sentences.md"])
    assert len(sentences) >= 12
    assert [sentence for sentence in sentences if sentence not in README] == []


def test_the_tests_that_pages_name_exist():
    named = set(re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", "\n".join(PAGES.values())))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (pages.ROOT / name).exists()] == []
