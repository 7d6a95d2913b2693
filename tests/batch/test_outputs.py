"""Outputs arrive together or not at all, and their record has the same bytes every time."""

import json
import os

import pytest

from sae.batch.outputs import run_id, staged, versions, write_json, write_manifest
from sae.errors import SaeInputError


def tree(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def test_a_new_folder_appears_whole(tmp_path):
    out = tmp_path / "a" / "b"
    with staged(out) as stage:
        (stage / "t.csv").write_text("1")
        assert not out.exists()
    assert tree(out) == {"t.csv": "1"} and list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, error, exists):
    out = tmp_path / "new" / "out"
    if exists:
        out.mkdir(parents=True)
        (out / "t.csv").write_text("old")
    with pytest.raises(error), staged(out) as stage:
        (stage / "t.csv").write_text("half")
        raise error
    assert tree(out) == {"t.csv": "old"} if exists else list(tmp_path.iterdir()) == []


def test_files_of_other_names_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "t.csv").write_text("old")
    with staged(tmp_path) as stage:
        (stage / "t.csv").write_text("new")
    assert tree(tmp_path) == {"notes.txt": "mine", "t.csv": "new"}


@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
def test_an_error_while_files_move_puts_the_old_ones_back(tmp_path, monkeypatch, error):
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "c.csv").write_text("old")
    replace = os.replace

    def fails_at_c(source, target):
        if os.fspath(target) == os.fspath(tmp_path / "c.csv") and ".old" not in os.fspath(source):
            raise error(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails_at_c)
    with pytest.raises(SaeInputError if error is PermissionError else error), staged(tmp_path) as stage:
        for name in "abc":
            (stage / f"{name}.csv").write_text("new")
    assert tree(tmp_path) == {"a.csv": "old", "c.csv": "old"}


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SaeInputError, match=r"output folder .*file.* cannot be written"), staged(out):
            pytest.fail("the work began")


def test_the_manifest_keeps_the_other_models_and_does_not_depend_on_the_order_of_runs(tmp_path):
    def run(out, name):
        with staged(out) as stage:
            (stage / f"{name}.csv").write_text(name)
            write_manifest(stage, out, name, {"rows": 1})

    for order in (("a", "b"), ("b", "a", "b")):
        for name in order:
            run(tmp_path / "".join(order), name)
    first, second = ((tmp_path / name / "manifest.json").read_bytes() for name in ("ab", "bab"))
    assert first == second and first.endswith(b"}\n") and b"\r" not in first
    record = json.loads(first)["models"]
    assert list(record) == ["a", "b"] and list(record["a"]["outputs"]) == ["a.csv"]


def test_a_manifest_that_is_not_ours_or_whose_files_are_gone_is_left_behind(tmp_path):
    (tmp_path / "manifest.json").write_text('{"models": [1]}')
    with staged(tmp_path) as stage:
        write_manifest(stage, tmp_path, "a", {})
    write_json(tmp_path / "manifest.json", {"models": {"gone": {"outputs": {"gone.csv": ""}}}})
    with staged(tmp_path) as stage:
        write_manifest(stage, tmp_path, "a", {})
    assert list(json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["models"]) == ["a"]


def test_the_run_id_depends_on_content_not_on_order():
    assert run_id({"a": 1, "b": 2}) == run_id({"b": 2, "a": 1}) != run_id({"a": 1, "b": 3})
    assert {"sae", "python", "numpy", "scipy", "pandas", "numba"} <= set(versions())
