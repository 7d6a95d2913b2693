"""The attack on a written table, as the command makes it."""

import sys

import pandas as pd
import pytest

import sae
from sae import cli
from sae.batch.auditing import audit_file, audit_production
from sae.errors import SaeInputError, SaeSpecError

SUMS = 'area = {all = ["A", "B", "C"]}\nsex = {total = ["f", "m"]}\n'
ROWS = {
    ("A", "f"): 3,
    ("A", "m"): 20,
    ("B", "f"): 30,
    ("B", "m"): 41,
    ("C", "f"): 50,
    ("C", "m"): 62,
}


@pytest.fixture
def files(tmp_path):
    def write(hidden):
        cells = dict(ROWS)
        for area in "ABC":
            cells[area, "total"] = cells[area, "f"] + cells[area, "m"]
        for sex in ("f", "m", "total"):
            cells["all", sex] = sum(cells[area, sex] for area in "ABC")
        lines = [f"{a},{s},{':' if (a, s) in hidden else n}" for (a, s), n in cells.items()]
        (tmp_path / "t.csv").write_text("area,sex,persons\n" + "\n".join(lines) + "\n", encoding="utf-8")
        (tmp_path / "sums.toml").write_text(SUMS, encoding="utf-8")
        return tmp_path / "t.csv", tmp_path / "sums.toml"

    return write


def test_a_cell_hidden_alone_is_told_exactly_and_four_that_hide_each_other_are_not(files):
    alone = audit_file(*files({("A", "f")}), value="persons", persons=5)
    assert not alone.passed and alone.intervals["low"].tolist() == [3.0] == alone.intervals["high"].tolist()
    square = {("A", "f"), ("A", "m"), ("B", "f"), ("B", "m")}
    assert audit_file(*files(square), value="persons", persons=5).passed


def test_the_command_prints_the_attack_and_its_exit_code_says_whether_it_failed(files, monkeypatch, capsys):
    for hidden, code, text in (
        ({("A", "f")}, 1, "1 of 12 cells are hidden"),
        ({("A", "f"), ("A", "m"), ("C", "f"), ("C", "m")}, 0, "4 of 12 cells are hidden"),
    ):
        table, sums = files(hidden)
        words = ["sae", "audit", table, "--sums", sums, "--value", "persons", "--persons", 5]
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == code and text in capsys.readouterr().out


def test_files_that_are_none_are_refused_by_name(files, tmp_path):
    table, sums = files(set())
    sums.write_text("area = {all = [", encoding="utf-8")
    with pytest.raises(SaeSpecError, match=r"sums\.toml is not valid TOML"):
        audit_file(table, sums, value="persons")
    with pytest.raises(SaeInputError, match=r"file of sums .*none\.toml does not exist"):
        audit_file(table, tmp_path / "none.toml", value="persons")
    sums.write_text(SUMS, encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"t\.csv has no column .*n_persons"):
        audit_file(table, sums, value="n_persons")


def test_the_published_table_of_a_model_file_is_no_production(tmp_path):
    frame = pd.DataFrame({"domain": ["A"], "estimate": [0.5], "unit": "share", "policy": "own"})
    path = tmp_path / "one.published.csv"
    sae.publish.published(sae.EstimateTable(frame.assign(publishable=True))).write(path)
    with pytest.raises(SaeInputError, match="is of a model file"):
        audit_production(path)
