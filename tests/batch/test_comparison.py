"""Two results of `sae run` compared: the demo again, folders that cannot be used, and the command."""

import json
import sys
from shutil import copytree

import pandas as pd
import pytest

from sae import cli
from sae.batch.comparison import _names, compare_results
from sae.batch.demo import MODEL, run_demo
from sae.batch.models import find_spec
from sae.batch.outputs import hash_file, write_json
from sae.batch.runner import run
from sae.batch.spec import read_spec
from sae.errors import SaeInputError
from sae.tables import EstimateTable, read_table


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The demo with seeds 1 and 2, and the model of the first again with another policy."""
    place = tmp_path_factory.mktemp("results")
    for seed in (1, 2):
        run_demo(place / f"seed{seed}", seed=seed)
    text = find_spec(MODEL).text.replace('policy = "eurostat_lfs"', 'policy = "statcan"')
    (place / f"{MODEL}.toml").write_text(text, encoding="utf-8")
    files = {
        name: place / "seed1" / f"{file}.csv" for name, file in (("survey", "persons"), ("areas", "areas"))
    }
    run(read_spec(place / f"{MODEL}.toml"), **files, out=place / "policy")
    return place


def command(monkeypatch, capsys, *words):
    """Run `sae diff` in this process; its exit status, what it printed, what it complained of."""
    monkeypatch.setattr(sys, "argv", ["sae", "diff", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def table_of(folder):
    return EstimateTable.read(folder / f"{MODEL}.csv")


def edited(folder, to, **columns):
    """A result of the same run whose table and manifest agree, but whose cells are others."""
    copytree(folder, to)
    path = table_of(folder).assign(**columns).write(to / f"{MODEL}.csv")
    record = json.loads((to / "manifest.json").read_text(encoding="utf-8"))
    record["models"][MODEL]["outputs"][path.name] = hash_file(path)
    write_json(to / "manifest.json", record)
    return to


def test_a_result_equals_itself(results, monkeypatch, capsys):
    code, text, complaint = command(monkeypatch, capsys, results / "seed1", results / "seed1")
    assert code == 0 and complaint == ""
    assert "no figure, verdict or suppression differs" in text
    assert "why: input files, versions, seed and model file are the same" in text


def test_another_policy_changes_verdicts_only_and_the_model_file_says_why(
    results, monkeypatch, capsys, tmp_path
):
    old, new, out = results / "seed1", results / "policy", tmp_path / "all.csv"
    code, text, complaint = command(monkeypatch, capsys, old, new, "--out", out)
    frame = read_table(out)
    assert code == 1
    assert set(frame["what"]) == {"reliability", "flag", "publishable", "reason", "policy"}
    assert '      -policy = "eurostat_lfs"\n      +policy = "statcan"\n' in text
    assert "other content" not in text and "version of" not in text

    before, after = (table_of(folder).frame for folder in (old, new))
    opened = before["domain"][~before["publishable"] & after["publishable"]]
    assert len(opened) > 5  # else the test would see nothing
    assert f"hidden in the old, not in the new: {len(opened)} cells" in text
    assert (
        f"Warning: {MODEL}: {len(opened)} cells, hidden in the old, not in the new: {opened.iloc[0]},"
        in complaint
    )
    bared = before["reason"].str.contains("direct columns confidential") & before["publishable"]
    bared &= ~after["reason"].str.contains("direct columns confidential")
    assert (
        bared.any() and f"{bared.sum()} cells, direct figure hidden in the old, not in the new" in complaint
    )
    first = before.loc[opened.index[0], "reason"]
    assert f"      old: {first}\n" in text


def test_another_survey_changes_the_figures_and_the_inputs_say_why(results):
    done = compare_results(results / "seed1", results / "seed2")
    before, after = (table_of(results / name).frame.set_index("domain") for name in ("seed1", "seed2"))
    moved = done.frame[done.frame["what"] == "estimate"].set_index("domain")
    shift = (after["estimate"] - before["estimate"]) / before["se"]
    pd.testing.assert_series_equal(moved["in_se"], shift[moved.index], check_names=False)
    assert f"by more than one old standard error: {(shift.abs() > 1).sum()} of {len(moved)}" in done.text
    assert "survey: persons.csv, other content" in done.text and "model file" not in done.text
    closed = done.frame[(done.frame["old_status"] == "shown") & (done.frame["new_status"] == "hidden")]
    assert f"{closed['domain'].nunique()} cells, shown in the old, hidden in the new" in "".join(
        done.warnings
    )


def test_the_largest_changes_show_no_hidden_figure(results, tmp_path):
    old = results / "seed1"
    table = table_of(old).frame
    hidden, shown = table.index[~table["publishable"]][0], table.index[table["publishable"]][0]
    estimate = table["estimate"].copy()
    estimate[hidden], estimate[shown] = 0.0123, estimate[shown] + 0.01
    text = compare_results(old, edited(old, tmp_path / "new", estimate=estimate)).text
    assert "one old standard error: 1 of 2" in text
    listed = text.partition("hidden in neither\n")[2].partition("  why")[0]
    assert len(listed.splitlines()) == 2 and table["domain"][shown] in listed
    assert "0.0123" not in text and f"{table['estimate'][hidden]:.4g}" not in text


def test_another_definition_is_warned_of(results, tmp_path):
    new = edited(results / "seed1", tmp_path / "new", definition="20-64 v2", geo_version="NUTS 2024")
    warnings = "\n".join(compare_results(results / "seed1", new).warnings)
    assert "the definition of employment_rate differs in 240 cells: '20-64 v1' in the old result" in warnings
    assert "the geo_version of employment_rate differs in 240 cells: 'none' in the old" in warnings


def test_tables_alone_are_compared_whatever_their_format(results, tmp_path):
    folder = results / "seed1"
    done = compare_results(folder / f"{MODEL}.csv", folder / f"{MODEL}.parquet")
    assert done.frame.empty and "why: unknown" in done.text
    renamed = table_of(folder).write(tmp_path / "old.csv")
    assert f"old → {MODEL}: 240 cells" in compare_results(renamed, folder).text


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
def test_the_differences_are_written_in_every_format(results, tmp_path, ending):
    out = tmp_path / f"all.{ending}"
    done = compare_results(results / "seed1", results / "policy", out=out)
    back = read_table(out)
    assert list(back) == list(done.frame) and len(back) == len(done.frame)
    assert back["domain"].tolist() == done.frame["domain"].tolist()
    compare_results(results / "seed1", results / "seed1", out=out)
    assert len(read_table(out)) == 0


def several(folder, to, names):
    """A folder with several models, each a copy of the one of `folder`."""
    to.mkdir()
    entry = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["models"][MODEL]
    for name in names:
        (to / f"{name}.csv").write_bytes((folder / f"{MODEL}.csv").read_bytes())
    digest = entry["outputs"][f"{MODEL}.csv"]
    models = {name: {**entry, "outputs": {f"{name}.csv": digest}} for name in names}
    write_json(to / "manifest.json", {"manifest": 1, "models": models})
    return to


def test_models_are_compared_with_those_of_the_same_name(results, tmp_path):
    old, new = (several(results / "seed1", tmp_path / name, ["same", name]) for name in ("one", "two"))
    done = compare_results(old, new)
    counts = done.frame.groupby("model")["what"].value_counts().to_dict()
    assert counts == {("one", "disappeared"): 240, ("two", "appeared"): 240}
    assert done.warnings == (
        "one: the model stands only in the old result.",
        "two: the model stands only in the new result.",
    )
    with pytest.raises(SaeInputError, match="is one table, but the other result holds 2 models: one, same"):
        compare_results(old, results / "seed1" / f"{MODEL}.csv")


def test_a_plan_beside_a_run_is_not_compared_and_named(results, tmp_path):
    new = several(results / "seed1", tmp_path / "new", [MODEL, "plan"])
    break_manifest(new, lambda all: all["plan"].update(outputs={"plan.html": "00"}, seed=None, design=None))
    done = compare_results(results / "seed1", new)
    assert done.frame.empty
    assert done.warnings == (f"Not compared, for {new / 'manifest.json'} names no table of estimates: plan.",)


def test_contrasts_are_part_of_a_result(results, tmp_path):
    old, new = (edited(results / "seed1", tmp_path / name) for name in ("old", "new"))
    for folder, shift in ((old, 0.0), (new, 0.01)):
        table = table_of(folder)
        gaps = table.assign(indicator="gap", estimate=table["estimate"] + shift)
        path = gaps.write(folder / f"{MODEL}.contrasts.csv")
        record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        record["models"][MODEL]["outputs"][path.name] = hash_file(path)
        write_json(folder / "manifest.json", record)
    frame = compare_results(old, new).frame
    assert set(frame["indicator"]) == {"gap"} and set(frame["what"]) == {"estimate"} and len(frame) == 240


def break_manifest(folder, change):
    record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(record["models"])
    write_json(folder / "manifest.json", record)


BREAKS = {
    "no manifest": (lambda new: (new / "manifest.json").unlink(), "holds no manifest.json"),
    "half a manifest": (
        lambda new: (new / "manifest.json").write_text('{"manifest": 1, "mod'),
        "Invalid JSON",
    ),
    "another manifest": (lambda new: (new / "manifest.json").write_text("{}"), "models: Field required"),
    "no list": (lambda new: (new / "manifest.json").write_text("[]"), "is no record of sae run"),
    "no bytes of text": (
        lambda new: (new / "manifest.json").write_bytes(b"\xff\xfe"),
        "is no record of sae run",
    ),
    "no seed": (lambda new: break_manifest(new, lambda all: all[MODEL].pop("seed")), f"{MODEL}: seed: Field"),
    "no models": (lambda new: break_manifest(new, lambda all: all.clear()), "its records are none"),
    "no hash": (
        lambda new: break_manifest(new, lambda all: all[MODEL]["inputs"]["survey"].pop("sha256")),
        "survey: sha256: Field required",
    ),
    "a plan": (
        lambda new: break_manifest(new, lambda all: all[MODEL].update(outputs={f"{MODEL}.html": "00"})),
        "names no table of estimates",
    ),
    "no table": (
        lambda new: (new / f"{MODEL}.csv").unlink(),
        f"{MODEL}.csv, which manifest.json names, is not",
    ),
    "half a table": (
        lambda new: (new / f"{MODEL}.csv").write_bytes((new / f"{MODEL}.csv").read_bytes()[:900]),
        "is not what its run wrote",
    ),
    "nothing": (lambda new: [path.unlink() for path in new.iterdir()] and new.rmdir(), "There is no file"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_folder_that_cannot_be_used_is_refused_by_name(results, tmp_path, monkeypatch, capsys, name):
    new = copytree(results / "seed1", tmp_path / "new.csv")  # with such a name it is a table once it is gone
    change, complaint = BREAKS[name]
    change(new)
    for words in ((results / "seed1", new), (new, results / "seed1")):
        code, text, error = command(monkeypatch, capsys, *words, "--out", tmp_path / "all.csv")
        assert (code, text) == (2, "")
        assert error.startswith(f"Error: {new}: ") and complaint in error and "Traceback" not in error
    assert not (tmp_path / "all.csv").exists()


def test_tables_that_are_none_of_estimates_are_named(results, monkeypatch, capsys):
    folder = results / "seed1"
    code, text, error = command(monkeypatch, capsys, folder, folder / "areas.csv")
    assert (code, text) == (2, "") and "areas.csv is not an estimate table" in error


@pytest.mark.parametrize("place", [f"seed1/{MODEL}.csv", "seed1/new.csv", "policy/manifest.csv"])
def test_nothing_is_written_among_the_results(results, monkeypatch, capsys, place):
    before = sorted(path.name for path in (results / place).parent.iterdir())
    words = results / "seed1", results / "policy", "--out", results / place
    code, text, error = command(monkeypatch, capsys, *words)
    assert (code, text) == (2, "") and "would lie among the results" in error
    assert sorted(path.name for path in (results / place).parent.iterdir()) == before


def test_a_place_of_no_known_format_is_refused(results, monkeypatch, capsys, tmp_path):
    words = results / "seed1", results / "policy", "--out", tmp_path / "all.txt"
    code, text, error = command(monkeypatch, capsys, *words)
    assert (code, text) == (2, "") and "no known table format" in error and not list(tmp_path.iterdir())


def test_the_help_names_the_exit_codes(monkeypatch, capsys):
    code, text, _ = command(monkeypatch, capsys, "--help")
    assert code == 0 and "0 nothing differs; 1 something does; 2 a result cannot be used" in text


def test_cells_that_share_a_domain_are_named_with_their_groups():
    frame = pd.DataFrame({"indicator": "mean", "geo": "01", "time": "", "birth": ["total", "foreign"]})
    frame = frame.assign(domain="01", what="estimate")
    assert _names(frame, frame) == ["total / 01", "foreign / 01"]
    assert _names(frame, frame.assign(domain=["01 / total", "01 / foreign"])) == ["01", "01"]
