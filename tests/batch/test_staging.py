"""A folder goes from one whole set of results to the next, whoever fails, interrupts or kills on the way."""

import errno
import json
import os
import sys
import threading

import pytest

from sae.batch import locks, staging
from sae.batch.outputs import hash_file, write_manifest
from sae.batch.staging import staged
from sae.errors import SaeInputError

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
NAMES = ("m.csv", "m.direct.csv", "m.xlsx")


def tree(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def run(out, text, name="m", endings=(".csv", ".direct.csv", ".xlsx")):
    """Write one set of results, all with the same text, and their record."""
    with staged(out, name) as stage:
        for ending in endings:
            (stage / f"{name}{ending}").write_text(text, encoding="utf-8")
        write_manifest(stage, name, {"text": text})


def current(out):
    """Return the text that the record says is current, if every file is as it says."""
    entry = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["models"]["m"]
    whole = all(hash_file(out / name) == digest for name, digest in entry["outputs"].items())
    return entry["text"] if whole else "mixed"


def test_a_new_folder_appears_whole(tmp_path):
    out = tmp_path / "a" / "b"
    with staged(out) as stage:
        (stage / "t.csv").write_text("1")
        assert not (out / "t.csv").exists()
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
@pytest.mark.parametrize("at", range(1, 9))
def test_an_error_at_any_rename_puts_the_old_files_back(tmp_path, monkeypatch, error, at):
    run(tmp_path, "old")
    before, calls = tree(tmp_path), []
    replace = os.replace

    def fails_once(source, target):
        calls.append(target)
        if len(calls) == at:
            raise error(13, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails_once)
    with pytest.raises(SaeInputError if error is PermissionError else error):
        run(tmp_path, "new")
    assert tree(tmp_path) == before and len(calls) >= at


@forks
@pytest.mark.parametrize("at", range(1, 10))
def test_killed_at_any_rename_one_mark_decides_and_the_next_run_leaves_one_set(tmp_path, at):
    """Renames: 1 is the mark, 2 to 9 are the old and the new file of four names, the record last."""
    run(tmp_path, "old")
    (tmp_path / "notes.txt").write_text("mine")
    child = os.fork()
    if not child:
        replace, calls = os.replace, []

        def killed(source, target):
            calls.append(target)
            if len(calls) == at:
                os._exit(9)
            replace(source, target)

        os.replace = killed
        try:
            run(tmp_path, "new")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    run(tmp_path, "other", name="n")  # of another model: what it leaves of m is one whole set
    assert current(tmp_path) == ("old" if at == 1 else "new")
    assert sorted(tree(tmp_path)) == sorted(
        [*NAMES, "manifest.json", "n.csv", "n.direct.csv", "n.xlsx", "notes.txt"]
    )


@forks
def test_what_a_killed_run_left_in_a_new_folder_goes_with_the_next(tmp_path):
    out = tmp_path / "out"
    child = os.fork()
    if not child:
        try:
            with staged(out) as stage:
                (stage / "half.csv").write_text("half")
                os._exit(9)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    assert [path.name[:13] for path in out.iterdir()] == [".sae-partial-"]
    run(out, "new")
    assert sorted(tree(out)) == sorted([*NAMES, "manifest.json"])


def test_runs_into_one_folder_at_once_keep_each_others_results(tmp_path):
    barrier = threading.Barrier(6)

    def write(name):
        with staged(tmp_path, name) as stage:
            (stage / f"{name}.csv").write_text(name)
            write_manifest(stage, name, {})
            barrier.wait()

    threads = [threading.Thread(target=write, args=(f"m{k}",)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["models"]
    assert sorted(record) == [f"m{k}" for k in range(6)]
    assert sorted(tree(tmp_path)) == sorted(["manifest.json", *(f"m{k}.csv" for k in range(6))])


def test_a_run_that_lives_is_not_taken_for_a_dead_one(tmp_path):
    with staged(tmp_path, "a") as stage:
        (stage / "a.csv").write_text("a")
        run(tmp_path, "m")
        write_manifest(stage, "a", {})
    assert {"a.csv", "m.csv"} <= set(tree(tmp_path))


def test_a_file_system_without_locks_serves_as_well(tmp_path, monkeypatch):
    def refused(file):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(locks, "lock", refused)
    run(tmp_path, "old")
    (tmp_path / ".sae-partial-x").mkdir()  # of a run that may live: nobody can know
    run(tmp_path, "new")
    assert current(tmp_path) == "new" and (tmp_path / ".sae-partial-x").is_dir()


def test_a_folder_that_another_run_does_not_let_go_of_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "WAIT", 0.1)
    message = "Another run has been writing"
    with staging._alone(tmp_path), pytest.raises(SaeInputError, match=message), staged(tmp_path):
        pytest.fail("the work began")


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SaeInputError, match=r"output folder .*file.* cannot be written"), staged(out):
            pytest.fail("the work began")


def test_a_folder_of_the_name_of_a_result_keeps_its_content(tmp_path):
    (tmp_path / "m.csv").mkdir()
    (tmp_path / "m.csv" / "mine.txt").write_text("mine")
    with pytest.raises(SaeInputError, match=r"m\.csv is a folder"):
        run(tmp_path, "new")
    assert (tmp_path / "m.csv" / "mine.txt").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_appears_meanwhile_keeps_its_content(tmp_path):
    with pytest.raises(SaeInputError, match=r"m\.csv is a folder"), staged(tmp_path, "m") as stage:
        (stage / "m.csv").write_text("new")
        write_manifest(stage, "m", {})
        (tmp_path / "m.csv").mkdir()
        (tmp_path / "m.csv" / "mine.txt").write_text("mine")
    assert (tmp_path / "m.csv" / "mine.txt").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_is_named_and_the_old_results_stand(tmp_path, monkeypatch, number):
    run(tmp_path, "old")
    before = tree(tmp_path)
    with pytest.raises(SaeInputError, match=r"The disk of .* is full.*as they were"), staged(tmp_path, "m"):
        raise OSError(number, os.strerror(number))  # as a write says it: without the name of the file
    assert tree(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file")
def test_a_disk_that_takes_no_more_while_it_is_written(tmp_path):
    import resource
    import signal

    run(tmp_path, "old")
    before, limits = tree(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SaeInputError, match="is full"):
            run(tmp_path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert tree(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_a_deleted_working_folder_is_named(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SaeInputError, match="output folder out cannot be written"), staged("out"):
        pytest.fail("the work began")


def test_on_windows_a_file_that_a_scanner_holds_for_a_moment_is_tried_again(tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def held(source, target):
        calls.append(target)
        if len(calls) < 4:
            raise PermissionError(13, "in use")
        replace(source, target)

    (tmp_path / "a").write_text("a")
    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(locks, "WINDOWS", True)
    locks.rename(tmp_path / "a", tmp_path / "b")
    assert len(calls) == 4 and (tmp_path / "b").exists()


def test_the_manifest_keeps_the_other_models_and_does_not_depend_on_the_order_of_runs(tmp_path):
    for order in (("a", "b"), ("b", "a", "b")):
        for name in order:
            run(tmp_path / "".join(order), "text", name, [".csv"])
    first, second = ((tmp_path / name / "manifest.json").read_bytes() for name in ("ab", "bab"))
    assert first == second and first.endswith(b"}\n") and b"\r" not in first
    record = json.loads(first)["models"]
    assert list(record) == ["a", "b"] and list(record["a"]["outputs"]) == ["a.csv"]
