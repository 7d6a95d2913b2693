"""The report as bytes: the six answers, what is hidden, and labels that want to run."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest

import sae
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.publish import published, report
from tests.publish.report_tables import SECRET, table


def page(data, folder, **options):
    return report(data, folder / "report.html", **options).read_text(encoding="utf-8")


def embedded(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def answers_of(text):
    cells = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text, re.S)
    return {html.unescape(question): html.unescape(answer) for question, answer in cells}


def test_a_unit_is_said_of_the_figures_that_have_it(tmp_path):
    data = table(times=("2025",), indicators=("rate", "mean"))
    unit = data["unit"].mask(data["indicator"] == "mean", "")
    text = page(replace(data, frame=data.frame.assign(unit=unit)), tmp_path)
    assert "percent (Rate)." in text and "percent." not in text
    assert "percent." in page(table(times=("2025",)), tmp_path)


def test_six_questions_are_answered_by_the_statistics(tmp_path):
    data = table()
    said = answers_of(page(data, tmp_path, seed=1, source="A survey"))
    rows = published(data).frame.query("time == '2025'").dropna(subset="estimate")
    frame, se = data.frame, data.frame["se"]
    assert len(rows) == 10
    top, last = rows.loc[rows["estimate"].idxmax()], rows.loc[rows["estimate"].idxmin()]
    for row in (top, last):
        assert (
            f"{100 * row['estimate']:.1f}".removesuffix(".0") + "\u00a0% "
            f"({row['city']})" in said["How high is it?"]
        )
    assert "in the 10 areas with a figure" in said["How high is it?"]
    width = 100 * (rows["ci_high"] - rows["ci_low"])
    half = f"{width.median():.1f}".removesuffix(".0")
    assert f"Half of the ranges are {half} percentage points wide or less" in said["How sure are we?"]
    assert "no figure: 2 of 12 areas." in said["How sure are we?"]
    middle = rows["estimate"].median()
    above, below = int((rows["ci_low"] > middle).sum()), int((rows["ci_high"] < middle).sum())
    whom = said["How do we compare, and with whom?"]
    sides = f"{above} above it with the whole range, {below} below, {10 - above - below} not to be told apart"
    assert sides in whom
    pairs = sae.compare.pairs(rows.assign(se=se[rows.index], domain=rows["city"]))["verdict"]
    same = int((pairs == "cannot be told apart").sum())
    assert f"Pairs of areas that cannot be told apart: {same} of 45." in whom
    moved = sae.compare.changes(frame[frame["city"].isin(rows["city"])].assign(domain=frame["city"]))[
        "verdict"
    ]
    rose, fell = int((moved == "rose").sum()), int((moved == "fell").sum())
    assert said["Since when?"] == (
        "The figures are for 2025; the report holds 2 periods, 2024 to 2025. Since the period before, "
        f"10 areas compared: {rose} surely rose, {fell} surely fell, {10 - rose - fell} not to be told apart."
        " Definition: of 20 to 64, v1."
    )
    assert rose + fell
    assert "league table" in said["What may I not conclude?"]
    assert (
        "Source: A survey. Method: figures of a model that lends each area strength from the others (EBLUP)."
        in said["Where do the figures come from?"]
    )
    assert len(said) == 6


def test_a_national_figure_takes_the_place_of_the_median(tmp_path):
    data = table()
    text = page(data, tmp_path, national={"2024": 0.61, "2025": 0.625})
    assert "compared with the national figure, 62.5\u00a0%:" in html.unescape(text)
    first = embedded(text)["slices"][0]
    assert first["reference"] == 0.625 and first["national"] is True
    for low, high, side in zip(first["ci_low"], first["ci_high"], first["side"], strict=True):
        assert side == (0 if low is None else int(low > 0.625) - int(high < 0.625))
    with pytest.raises(SaeSpecError, match="no figure for 2025"):
        page(data, tmp_path, national={"2024": 0.61})


def test_hidden_figures_leave_no_trace(tmp_path):
    """Another figure of a confidential row changes not a byte: no order, rank, coordinate knows of it."""
    one = page(table(), tmp_path, seed=1, cost=45.0)
    for secret in ({"estimate": 0.11, "direct": 0.05}, {"se": 0.04, "n": 2, "direct_se": 0.2}):
        assert page(table(**secret), tmp_path, seed=1, cost=45.0) == one
    for number in (SECRET, 0.0219, 0.9137, 0.5123, 0.29, SECRET**2):
        for scale in (1.0, 100.0):
            for digits in (3, 4, 5, 6):
                text = f"{number * scale:.{digits}g}"
                for spelling in (text, text.replace(".", ",")):
                    assert len(spelling.strip("0.,")) < 3 or not re.search(
                        rf"(?<![\d.]){re.escape(spelling)}\d*\b", one
                    )
    hidden = [k for k, value in enumerate(embedded(one)["slices"][0]["estimate"]) if value is None]
    names = embedded(one)["texts"]["area"]
    assert [names[embedded(one)["slices"][0]["area"][k]] for k in hidden] == ["city 001", "city 002"]
    assert hidden == [10, 11]  # after all others, by their names


def test_an_unreliable_figure_leaves_no_trace_either(tmp_path):
    data = table()
    frame = data.frame.copy()
    at = frame["city"].eq("city 002")
    other = frame.assign(estimate=frame["estimate"].where(~at, frame["estimate"] * 0.8))
    for name in ("se", "ci_low", "ci_high"):
        other[name] = frame[name].where(~at, frame[name] * 0.8)
    assert page(replace(data, frame=other), tmp_path, seed=1) == page(data, tmp_path, seed=1)


def test_labels_run_nothing(tmp_path):
    data = table(areas=4)
    evil = ["</script><script>alert(1)</script>", "=1+1", "<img src=x onerror=alert(1)>", "a & b\u2028"]
    frame = data.frame.assign(city=np.array(evil * 2), domain=np.array(evil * 2))
    text = page(replace(data, frame=frame), tmp_path, title="<b>T</b>", source="</dd><script>")
    assert text.count("<script") == 2 and text.count("</script>") == 2
    assert "<img" not in text and "<b>T" not in text and "alert(1)</script>" not in text
    assert embedded(text)["texts"]["area"] and set(embedded(text)["texts"]["area"]) == set(evil)
    assert "default-src 'none'" in text and "http://www" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_same_table_gives_the_same_bytes_and_no_network_is_named(tmp_path):
    text = page(table(), tmp_path, seed=1)
    assert text == page(table(), tmp_path, seed=1)
    assert not re.search(r"(src|href)=[\"'](?!data:,|#)", text)


def test_what_cannot_be_reported_is_refused(tmp_path):
    data = table()
    with pytest.raises(SaeInputError, match=r"does not end in \.html"):
        report(data, tmp_path / "report.pdf")
    with pytest.raises(SaeInputError, match="24 of 24 rows were not judged"):
        report(replace(data, frame=data.frame.assign(policy="")), tmp_path / "r.html")
    with pytest.raises(SaeSpecError, match="not a DataFrame"):
        report(data.frame, tmp_path / "r.html")
    with pytest.raises(SaeSpecError, match="no column 'town'"):
        report(data, tmp_path / "r.html", area="town")
    with pytest.raises(SaeInputError, match="stand more than once"):
        report(data, tmp_path / "r.html", names={"city 003": "X", "city 004": "X"})
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"national": 62.0}, r"is 62, and the table holds shares from 0 to 1.\nWrite national=0.62 for 62 %"),
        ({"national": {"2024": 0.6, "2025": 61}}, "is 61, and the table holds shares"),
        ({"national": "0.6"}, "neither a figure nor figures by selection"),
        ({"cost": "30"}, "cost='30' is no price"),
        ({"cost": -30}, "cost=-30 is no price"),
        ({"names": "names.csv"}, "it is a str"),
        ({"names": {"0": "Zero", "1": "One"}}, "None of the 2 names is of an area: they are of 0, 1,"),
        ({"names": {"city 003": "C", "City 004": "D"}}, "differ only by zeros in front, spaces or capitals"),
    ],
)
def test_options_that_would_be_silently_without_effect_or_of_another_scale_are_refused(
    tmp_path, options, words
):
    with pytest.raises(SaeError, match=words):
        report(table(), tmp_path / "r.html", **options)
    assert not list(tmp_path.iterdir())


def test_what_is_no_path_is_named(tmp_path):
    data = table()
    with pytest.raises(SaeInputError, match="text or a Path, and a EstimateTable was given"):
        report(tmp_path / "r.html", data)
    with pytest.raises(SaeInputError, match="a NoneType was given"):
        report(data, None)


def test_a_table_of_hidden_rows_says_so(tmp_path):
    data = table()
    frame = data.frame.assign(publishable=False, flag=":u")
    said = answers_of(page(replace(data, frame=frame), tmp_path, seed=1))
    assert said["How high is it?"] == "No area of 12 has a figure that may be shown."


def test_a_map_has_the_areas_and_names_those_it_lacks(tmp_path):
    def square(x, code):
        ring = [[x, 0], [x + 1, 0], [x + 1, 1], [x, 1], [x, 0]]
        return {
            "type": "Feature",
            "properties": {"id": code},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }

    shapes = {"type": "FeatureCollection", "features": [square(k, f"city {k:03}") for k in range(11)]}
    drawn = embedded(page(table(), tmp_path, geometry=shapes, key="id"))["map"]
    assert len(drawn["paths"]) == 11 and drawn["lost"] == ["city 011"]
    assert all(re.fullmatch(r"(M\d+ \d+(L\d+ \d+)+Z)+", path) for path in drawn["paths"].values())
    with pytest.raises(SaeInputError, match="none of the 12 areas"):
        page(table(), tmp_path, geometry={**shapes, "features": [square(0, "x")]}, key="id")
