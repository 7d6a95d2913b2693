"""A newcomer's way: the code of the pages, pasted from top to bottom, leads to what they promise."""

import html
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from sae.cli import app
from tests.docs.pages import ROOT, cells

SIX = (
    "How high is it?",
    "How sure are we?",
    "How do we compare, and with whom?",
    "Since when?",
    "What may I not conclude?",
    "Where do the figures come from?",
)


def shell(command):
    """Run a line of a shell: `sae` in this process, without what compiles and loads again."""
    name, *arguments = shlex.split(re.sub(r"2>.*|#.*", "", command))
    if name == "cat":
        print(Path(*arguments).read_text(encoding="utf-8"))
    else:
        assert name == "sae"
        assert app(arguments, standalone_mode=False) == 0, command


def paste(page):
    """Run the cells of a page, then its blocks for a shell; return its names."""
    names = {"shell": shell}
    for cell in cells(page):
        if cell.startswith("%%writefile "):
            head, text = cell.split("\n", 1)
            Path(head.split()[1]).write_text(text, encoding="utf-8")
            continue
        code = re.sub(r"^!(.*)$", lambda line: f"shell({line[1]!r})", cell, flags=re.MULTILINE)
        exec(compile(code, page, "exec"), names)
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.M | re.S)
    for command in "".join(blocks).splitlines():
        shell(command)
    return names


def answers(path):
    text = html.unescape(Path(path).read_text(encoding="utf-8"))
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text, re.DOTALL))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the fits: the pages speak of them
def test_pages_in_their_order_lead_to_a_flagged_table_a_comparison_and_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    paste("getting_started.md")
    table = pd.read_csv("employment_of_the_foreign_born.csv")
    assert len(table) == 120
    assert table["reliability"].notna().all()

    own = paste("how_to/own_file.md")
    public = pd.read_csv("to_publish.csv", dtype={"Bezirk": str})
    assert set(public["Bezirk"]) == {f"{k:02d}" for k in range(1, 33)}
    assert public.groupby("birth").size().tolist() == [32, 32]
    hidden = ~own["fit"].estimates.frame["publishable"].astype(bool)
    assert public["estimate"].isna().sum() == hidden.sum()
    assert len(own["gap"].frame) == 32
    assert own["gap"]["verdict"].isin(["lower", "higher", "cannot be told apart"]).all()
    assert len(pd.read_csv("results/my.published.csv")) == 32
    assert tuple(answers("results/my.html")) == SIX

    paste("how_to/report.md")
    for name in ("report.html", "with_map.html"):
        assert tuple(answers(name)) == SIX
    assert "72" in answers("report.html")["How do we compare, and with whom?"]
    assert "Wie hoch ist es?" in answers("bericht.html")
    assert "XA5073" in Path("XA5073.html").read_text(encoding="utf-8")
