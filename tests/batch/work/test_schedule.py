"""Items are done once, in the order of their needs; the first error ends a run, what is finished stays."""

import errno
import json
import math
import os
import pickle
from functools import partial

import pytest

from sae.batch.work import Item, Processes, Serial, Store, executed, item_keys
from sae.batch.work.processes import outcome
from sae.batch.work.tasks import Task
from sae.errors import SaeInputError
from tests.batch.work.jobs import fails, numbers, summed, tree


@pytest.fixture(scope="module", params=["serial", "processes"])
def executor(request):
    with Serial() if request.param == "serial" else Processes(2) as made:
        yield made


def content(outputs):
    """All that the outputs hold, as bytes."""
    return {
        name: (
            {key: frame.to_csv() for key, frame in output.tables.items()},
            dict(output.facts),
            {key: array.tobytes() for key, array in output.arrays.items()},
        )
        for name, output in outputs.items()
    }


def test_a_second_run_does_nothing_again_and_gives_the_same(tmp_path, executor):
    steps = []
    first = content(executed(tree(), Store(tmp_path), executor, steps.append))
    assert first["all"][1]["of"] == [f"pair {k}" for k in range(4)]
    last = steps[-1]
    assert (last.finished, last.items, last.done, last.running) == (13, 13, last.total, ())
    again = []
    assert content(executed(tree(), Store(tmp_path), executor, again.append)) == first
    assert len(again) == 1 and again[0].finished == 13


def test_the_error_of_the_first_item_is_raised_as_it_was(tmp_path, executor):
    items = [
        Item("good", {}, partial(numbers, seed=1)),
        Item("slow", {}, partial(fails, seconds=0.3)),
        Item("fast", {}, partial(fails, kind=KeyError)),
        Item("after", {}, summed, ("slow",)),
    ]
    store = Store(tmp_path)
    with pytest.raises(SaeInputError, match="It is wrong") as error:
        executed(items, store, executor)
    assert (
        error.value.hint == "Make it right." and error.value.column == "geo" and error.value.areas == ("01",)
    )
    assert [entry["name"] for entry in store.ledger()] == ["good"]


def test_progress_and_log_tell_what_is_at_work_and_how_long_the_rest_takes(tmp_path, executor):
    steps, log = [], tmp_path / "log.jsonl"
    items = [
        Item(f"n{k}", {"k": k}, partial(numbers, seed=k, seconds=0.05), cost=1 + k % 2) for k in range(6)
    ]
    executed(items[:2], Store(tmp_path / "s"), executor)
    executed(items, Store(tmp_path / "s"), executor, steps.append, log=log)
    assert (steps[0].finished, steps[0].done, steps[0].total) == (2, 3.0, 9.0) and math.isnan(steps[0].left)
    assert steps[0].running == ("n2", "n3")[: executor.workers]
    middle = steps[2]  # two of six items, of cost 3 in 6, are done: the rest takes as long again
    assert middle.finished == 4 and middle.left == pytest.approx(middle.seconds, rel=1e-9)
    assert steps[-1].left == 0.0 and steps[-1].memory > 10**7
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert (
        [one["event"] for one in events].count("begin") == [one["event"] for one in events].count("end") == 4
    )
    assert events[0] == {"time": events[0]["time"], "event": "start", "items": 6, "stored": 2}
    assert events[-1]["event"] == "finish" and events[-1]["memory"] == steps[-1].memory
    assert all(one["seconds"] >= 0.05 for one in events if one["event"] == "end")


def test_an_error_stands_in_the_log(tmp_path):
    with pytest.raises(SaeInputError):
        executed([Item("bad", {}, fails)], Store(tmp_path / "s"), log=tmp_path / "log.jsonl")
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["item"], last["error"]) == ("error", "bad", "It is wrong.")


def test_outputs_are_read_when_looked_up_and_not_kept(tmp_path, monkeypatch):
    outputs = executed(tree(2), Store(tmp_path))
    looked, read = [], Store._content

    def noted(self, key, entry):
        looked.append(entry["name"])
        return read(self, key, entry)

    monkeypatch.setattr(Store, "_content", noted)
    assert len(outputs) == 4 and "all" in outputs and "none" not in outputs
    assert outputs["all"].facts["of"] == ["pair 0"] and looked == []
    assert outputs["all"].tables["t"] is not outputs["all"].tables["t"] and looked == ["t", "t"]
    with pytest.raises(KeyError):
        outputs["none"]


def test_an_interruption_ends_the_run_and_what_is_finished_stays(tmp_path, executor):
    def interrupt(progress):
        if progress.finished == 3:
            raise KeyboardInterrupt

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        executed(tree(), store, executor, interrupt, log=tmp_path / "log")
    assert len(list(store.ledger())) == 3 and '"event": "interrupted"' in (tmp_path / "log").read_text()
    assert executed(tree(), store, executor)["all"].facts["of"][0] == "pair 0"


def test_a_full_disk_ends_a_run_and_with_room_it_goes_on(tmp_path, monkeypatch):
    write, count = type(tmp_path).write_bytes, []

    def full(path, content):
        count.append(path)
        if 9 < len(count) < 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    store = Store(tmp_path)
    for _ in range(2):
        with pytest.raises(SaeInputError, match="is full"):
            executed(tree(), store)
    assert content(executed(tree(), store)) == content(executed(tree(), Store(tmp_path / "other")))


def test_only_small_things_go_between_processes(tmp_path):
    item = Item("big", {}, partial(numbers, seed=1, rows=200_000))
    task = Task("big", item_keys([item])["big"], item.job, {}, Store(tmp_path))
    assert len(pickle.dumps(task)) < 1000 and len(pickle.dumps(outcome(task))) < 1000
