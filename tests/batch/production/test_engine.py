"""No byte depends on who performs a production, in how many parts, or how often it is killed."""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest

from sae import cli
from sae.batch.production import items, runner
from sae.batch.production.engine import Engine, Shard, memory_of
from sae.batch.production.runner import merge_production, run_production, run_shard
from sae.batch.production.spec import read_production
from sae.batch.work import Store, one_run
from sae.errors import SaeInputError, SaeSpecError

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks of POSIX")


@pytest.fixture
def small(texts, folder):
    """Two files of a survey, two indicators, one model."""
    texts.draw(np.random.default_rng(8), 2026).to_csv(folder / "later.csv", index=False)
    text = texts.head.replace("time = false", "time = true") + texts.arcsin
    text = text.replace('["employment_rate"]', '["employment_rate", "activity_rate"]')
    (folder / "table.toml").write_text(text, encoding="utf-8")
    return folder


def given(folder):
    surveys = [f"lfs={folder / name}" for name in ("persons.csv", "later.csv")]
    return {"surveys": surveys, "areas": folder / "areas.csv"}


def produced(folder, out, work=run_production, **options):
    file = read_production(folder / "table.toml")
    work(file, **given(folder), out=folder / out, **options)
    return {path.name: path.read_bytes() for path in (folder / out).iterdir()}


def test_workers_and_shards_give_the_same_bytes(small):
    whole = produced(small, "one", engine=Engine(workers=1))
    assert len(whole) >= 6 and not any(name.startswith(".") for name in whole)
    assert produced(small, "two", engine=Engine(workers=2)) == whole
    file, more = read_production(small / "table.toml"), {**given(small), "out": small / "shards"}
    assert "activity_rate" in run_shard(file, Shard(2, 3), **more)
    with pytest.raises(SaeInputError, match="1 of 3 shards of table are not finished: 1/3"):
        merge_production(file, **more)
    with pytest.raises(SaeInputError, match="in 3 shards has begun"):
        run_shard(file, Shard(1, 2), **more)
    run_shard(file, Shard(1, 3), **more)
    assert "no indicator is left" in run_shard(file, Shard(3, 3), **more)
    assert produced(small, "shards", merge_production) == whole


def test_a_dask_cluster_gives_the_same_bytes(small):
    distributed = pytest.importorskip("distributed")
    options = {"dashboard_address": None, "worker_dashboard_address": None, "silence_logs": 50}
    whole = produced(small, "one", engine=Engine(workers=1))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as made:
        address = made.scheduler_address.replace("tcp://", "dask://")
        assert produced(small, "cluster", engine=Engine(cluster=address)) == whole


@posix
def test_killed_at_random_moments_it_ends_with_the_same_bytes(small):
    command = [sys.executable, "-m", "tests.batch.production.kills", str(small), "6", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] == 6 and counts["ended"] >= 1
    assert counts["differing"] == counts["unexpected"] == counts["left"] == 0


def test_what_is_finished_is_not_done_again(small, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_write", stop)
    with pytest.raises(KeyboardInterrupt) as end:
        produced(small, "out", engine=Engine(workers=1))
    assert end.value.__notes__ == ["what is finished is kept: run again to go on"]
    monkeypatch.undo()
    monkeypatch.setattr(items, "survey_tables", None)
    monkeypatch.setattr(items, "indicator_rows", None)
    assert "table.csv" in produced(small, "out", engine=Engine(workers=1))


def test_a_second_run_is_refused_by_name(small):
    (small / "out").mkdir()
    with one_run(small / "out", "table"), pytest.raises(SaeInputError, match="table is being run into"):
        produced(small, "out")


def test_a_full_disk_and_a_file_that_changes_are_named(small, monkeypatch):
    def full(self, part, key):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_settle", full)
        with pytest.raises(SaeInputError, match=r"The disk of .* is full"):
            produced(small, "out")
    assert not (small / "out").exists()
    read = items.survey_tables

    def changed(*args):
        (small / "later.csv").write_bytes((small / "persons.csv").read_bytes())
        return read(*args)

    monkeypatch.setattr(items, "survey_tables", changed)
    with pytest.raises(SaeInputError, match=r"later\.csv was changed while the run went on"):
        produced(small, "out", engine=Engine(workers=1))


def test_the_command_line_says_how_a_production_is_performed(small, capsys):
    words = [
        "run",
        str(small / "table.toml"),
        "--areas",
        str(small / "areas.csv"),
        "--out",
        str(small / "out"),
    ]
    words += ["--survey", f"lfs={small / 'persons.csv'}"]

    def code(*more):
        with pytest.raises(SystemExit) as end:
            cli.app([*words, *more])
        return end.value.code, capsys.readouterr()

    assert code("--shard", "0/2")[1].err.startswith("Error: '0/2' is no shard")
    assert "no amount of memory" in code("--memory", "lots")[1].err
    assert "is no executor" in code("--executor", "threads")[1].err
    done, out = code("--log", str(small / "log.jsonl"), "--workers", "1", "--memory", "2GB")
    assert done == 0 and "table.csv" in out.out
    events = [json.loads(line) for line in (small / "log.jsonl").read_text().splitlines()]
    assert {event["event"] for event in events} == {"start", "begin", "end", "finish"}
    assert "with one worker" in code("--dry-run")[1].out


def test_amounts_of_memory_and_shards_are_read():
    assert memory_of("1.5 gb") == 1.5e9 and memory_of("800MiB") == 8e8
    for text in ("", "GB", "0GB", "4 potatoes"):
        with pytest.raises(SaeSpecError):
            memory_of(text)
    for text in ("3/2", "a/b", "1", "-1/2"):
        with pytest.raises(SaeSpecError):
            Shard.parse(text)


def test_a_log_is_not_written_into_another_file(small, capsys):
    before = (small / "persons.csv").read_bytes()
    for log, match in (
        ("persons.csv", "is no log"),
        ("nowhere/log.jsonl", "No such file"),
        (".", "directory"),
    ):
        with pytest.raises(SaeInputError, match=match):
            produced(small, "out", engine=Engine(log=small / log))
    assert (small / "persons.csv").read_bytes() == before and not (small / "out").exists()


def test_what_other_shards_have_outlasts_a_shard_with_wrong_files(small):
    file, more = read_production(small / "table.toml"), {**given(small), "out": small / "shards"}
    with pytest.raises(SaeInputError, match="No shard of table has been run into"):
        merge_production(file, **more)
    assert not (small / "shards").exists()  # so that shards can begin there
    run_shard(file, Shard(1, 2), **more)
    kept = sorted((small / "shards").rglob("*.parquet"))
    (small / "few.csv").write_text("region,tertiary\nR01,0.2\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"few\.csv lacks"):
        run_shard(file, Shard(2, 2), **{**more, "areas": small / "few.csv"})
    assert kept and set(kept) <= set((small / "shards").rglob("*.parquet"))


def test_what_was_finished_outlasts_a_run_with_wrong_files(small, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        produced(small, "out", engine=Engine(workers=1))
    kept = sorted((small / "out").rglob("*.parquet"))
    (small / "few.csv").write_text("region,tertiary\nR01,0.2\n", encoding="utf-8")
    file = read_production(small / "table.toml")
    with pytest.raises(SaeInputError, match=r"few\.csv lacks"):
        run_production(file, **{**given(small), "areas": small / "few.csv"}, out=small / "out")
    assert kept and set(kept) <= set((small / "out").rglob("*.parquet"))


def test_the_hash_of_an_input_is_that_of_all_files_that_are_read(tmp_path):
    for part in "DHRP":
        (tmp_path / f"UDB_cAT23{part}.csv").write_text(part, encoding="utf-8")
    one, all_ = tmp_path / "UDB_cAT23D.csv", tmp_path
    before = {path: items.hash_input(path) for path in (one, all_)}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.csv").write_text("a result", encoding="utf-8")
    assert {path: items.hash_input(path) for path in before} == before
    (tmp_path / "UDB_cAT23P.csv").write_text("other", encoding="utf-8")  # read beside D
    assert not {items.hash_input(path) for path in before} & {*before.values()}
    records = tmp_path / "records"
    (records / "year=2024").mkdir(parents=True)
    (records / "year=2024" / "a.csv").write_text("1", encoding="utf-8")
    before = items.hash_input(records)
    (records / ".DS_Store").write_text("x", encoding="utf-8")
    assert items.hash_input(records) == before
    (records / "year=2024" / "a.csv").rename(records / "a.csv")
    assert items.hash_input(records) != before


def test_results_do_not_lie_among_the_records(small):
    (small / "records").mkdir()
    (small / "persons.csv").rename(small / "records" / "persons.csv")
    file = read_production(small / "table.toml")
    more = {"surveys": [f"lfs={small / 'records'}"], "areas": small / "areas.csv"}
    for work in (run_production, merge_production, lambda file, **more: run_shard(file, Shard(1, 2), **more)):
        with pytest.raises(SaeInputError, match="the folder of the survey lfs"):
            work(file, **more, out=small / "records" / "out")
    assert not (small / "records" / "out").exists()
