"""The pages of the layouts say every kind of column, and what is remembered."""

import pytest

from sae.survey import layout_names, layout_page


@pytest.mark.parametrize("name", layout_names())
def test_every_page_is_plain_text(name):
    page = layout_page(name)
    assert page.startswith(f"{name}: ") and "  variables" in page and "{" not in page


def test_the_page_of_the_european_labour_force_survey():
    lines = [line.split(maxsplit=1) for line in layout_page("eu_lfs").splitlines()]
    page = {line[0]: line[1] for line in lines if len(line) == 2}
    assert page["region"] == "NUTS code of COUNTRY, REGION_2D | REGION2D | REGION"
    assert page["age"] == "age from AGE, AGE_GRP"
    assert page["time"].startswith("period | REFYEAR with COEFFQ; REFYEAR with COEFFY")
    assert page["residence"].startswith("born_here: birth == 'native'; under_5_years")
    assert page["unemployment_duration"].endswith("(remembered)")
    assert "9" not in page["labour_status"]  # codes that mean no answer are no level
