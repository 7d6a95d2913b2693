"""Charts on disk: by `save` and by matplotlib's own habit, the same bytes in every process."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError
from sae.plots import caterpillar

CODE = """
import sys, pandas as pd
from sae.plots import caterpillar
frame = pd.DataFrame({'domain': ['a', 'b'], 'estimate': [0.1, 0.3], 'ci_low': 0.0, 'ci_high': 0.4})
chart = caterpillar(frame)
chart.savefig(sys.argv[1], dpi=50)
chart.save(sys.argv[2], dpi=50)
"""


def chart():
    return caterpillar(
        pd.DataFrame({"domain": ["a", "b"], "estimate": [0.1, 0.3], "ci_low": 0.0, "ci_high": 0.4})
    )


def test_both_habits_give_the_same_bytes_in_another_process(tmp_path):
    contents = {"savefig": set(), "save": set()}
    for run in "12":
        paths = [tmp_path / f"{habit}{run}.svg" for habit in contents]
        subprocess.run([sys.executable, "-c", CODE, *map(str, paths)], check=True, timeout=120)
        for path, known in zip(paths, contents.values(), strict=True):
            known.add(path.read_bytes())
    assert [len(known) for known in contents.values()] == [1, 1]


def test_a_chart_saves_itself_and_shows_itself(tmp_path):
    path = chart().save(tmp_path / "chart.svg")
    text = path.read_text(encoding="utf-8")
    assert "<dc:date>" not in text and text.count("<svg") == 1
    assert chart()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(SaeInputError, match="no known picture format"):
        chart().save(tmp_path / "chart.gif")
    assert [entry.name for entry in tmp_path.iterdir()] == ["chart.svg"]


def test_residual_charts_take_names_and_long_titles():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"domain": [f"{k:02d}" for k in range(30)], "x": rng.random(30), "vardir": 0.01})
    frame["y"] = frame["x"] + rng.normal(0, 0.1, 30)
    frame.loc[7, "y"] += 2
    fit = sae.FayHerriot("y ~ x").fit(frame)
    title = "Residuals of a fit with a title that goes on and on " * 5
    for made in (fit.plot.residuals, fit.plot.qq):
        figure = made(labels={"07": "Graz"}, title=title)
        assert "Graz" in [text.get_text() for axes in figure.axes for text in axes.texts]
        assert " ".join(figure._suptitle.get_text().split()) == title.strip()
        assert "\n" in figure._suptitle.get_text()
    with pytest.raises(SaeInputError, match="None of the 30 areas has a name"):
        fit.plot.qq(labels={"Graz": "07"})
