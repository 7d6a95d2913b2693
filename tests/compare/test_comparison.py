"""What every comparison has: a chart, a frame, a file, a summary, and a print for people."""

import numpy as np
import pandas as pd
import pytest

from sae import compare
from sae.tables import EstimateTable, read_table
from sae.tables.ods import ods_rows

MANY = 80  # more than names can be read of


def figures(count=6):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(count)], "indicator": "own", "unit": "share"})
    frame["estimate"], frame["se"] = rng.uniform(0.3, 0.7, count), 0.05
    return frame.assign(size=rng.uniform(9, 12, count), definition="v1")


def over(column, one, other, count=6):
    frame = figures(count)
    return pd.concat(
        [frame.assign(**{column: one}), frame.assign(**{column: other}, estimate=frame["estimate"] + 0.1)]
    )


def census(count=6):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"city": np.repeat(np.arange(count), 5), "part": np.tile(np.arange(5), count)})
    return frame.assign(foreign=rng.integers(5, 60, 5 * count), native=rng.integers(90, 300, 5 * count))


MADE = {
    "differences": lambda n: compare.differences(figures(n), 0.5),
    "ratios": lambda n: compare.ratios(figures(n), "A00"),
    "gaps": lambda n: compare.gaps(over("birth", "foreign", "native", n), "birth", "foreign", "native"),
    "changes": lambda n: compare.changes(over("time", "2019", "2020", n)),
    "series": lambda n: compare.series(over("time", "2019", "2020", n)),
    "pairs": lambda n: compare.pairs(figures(n)),
    "ranks": lambda n: compare.ranks(figures(n), seed=1, draws=100),
    "peers": lambda n: compare.peers(figures(n), "A00", ["size", "estimate"], k=min(n - 1, 60)),
    "comparability": lambda n: compare.comparability(figures(n)),
    "segregation": lambda n: compare.segregation(
        census(n),
        area="city",
        domain="part",
        counts=["foreign", "native"],
        against="native",
        seed=1,
        draws=100,
    ),
}


def test_all_of_them_are_here():
    verbs = {name for name in compare.__all__ if name.islower()}
    assert verbs == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_a_comparison_is_drawn_framed_written_and_printed(name, tmp_path):
    made = MADE[name](6)
    frame = made.to_frame()
    frame.iloc[:, 0] = "changed"
    assert not made.frame.iloc[:, 0].eq("changed").any()
    back = pd.read_csv(made.write(tmp_path / "made.csv"))
    assert list(back) == list(made.frame) and len(back) == len(made)
    assert made.write(tmp_path / "made.xlsx").stat().st_size > 1000
    lines = made.summary().splitlines()
    assert lines and all(lines) and repr(made).startswith(lines[0])
    assert made._repr_html_().count("<tr") > 2
    figure = made.plot(title="Own title", source="A source")
    assert figure.get_suptitle() == "Own title"
    assert "Source: A source." in figure.get_supxlabel()


@pytest.mark.parametrize("name", MADE)
def test_no_title_is_cut_and_nothing_overlaps_it(name):
    """A title of two lines, few areas and many: it stays inside the figure and above all axes."""
    long = "A title that somebody wrote in one breath, long enough to run over the edge of the figure, twice"
    for count in (3, MANY) if name != "peers" else (3,):
        figure = MADE[name](count).plot(title=long)
        figure.draw_without_rendering()
        box = figure._suptitle.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        for part in (*figure.axes, *legends):
            assert part.get_window_extent().y1 <= box.y0 + 1


@pytest.mark.parametrize(("unit", "code"), [("share", "0.0%"), ("EUR", "#,##0.000")])
def test_a_workbook_of_a_comparison_has_its_summary_and_the_formats_of_its_unit(tmp_path, unit, code):
    openpyxl = pytest.importorskip("openpyxl")
    rows = pd.DataFrame({"domain": ["A", "B", "C"], "estimate": [0.4123, 0.5234, 0.6712], "se": 0.02})
    table = EstimateTable(rows.assign(unit=unit, n=[100, 200, 300], mse=0.0004))
    compared = compare.differences(table, "A")
    book = openpyxl.load_workbook(compared.write(tmp_path / "t.xlsx"))
    assert book.sheetnames == ["estimates", "notes"]
    at = {cell.value: cell.column for cell in book["estimates"][1]}
    for name in ("value", "other", "estimate"):
        assert book["estimates"].cell(2, at[name]).number_format == code
    lines = [text for about, text in list(book["notes"].values)[1:] if about == "Comparison"]
    assert lines == compared.summary().splitlines()
    back = read_table(compared.write(tmp_path / "t.ods"))
    assert back["estimate"].tolist() == compared["estimate"].tolist()
    assert [name for name, _ in ods_rows(tmp_path / "t.ods")] == ["estimates", "notes"]
    ranked = compare.ranks(table, seed=1)
    assert ods_rows(ranked.write(tmp_path / "r.ods"))[1][1][1] == ("Note", ranked.notes[0])
