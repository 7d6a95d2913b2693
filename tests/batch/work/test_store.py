"""A store gives back what was put, whole or not at all, whoever wrote, died, or changed the folder."""

import errno
import json
import os
import pickle
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from sae.batch import locks
from sae.batch.work import Output, Store
from sae.batch.work import store as stores
from sae.errors import SaeInputError

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
KEY = "ab" * 32


def output(n=3):
    frame = pd.DataFrame({"geo": ["01", "02"], "x": [0.1, np.nan]})
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "none": np.empty((0, 2), dtype=np.int8),
        "one": np.array(2.5),
    }
    return Output({"t/ü": frame, "void": frame.iloc[:0, :0]}, {"n": n, "texts": ["ü", "\udc80"]}, arrays)


def files(store):
    return sorted(path for path in (store.folder / "parts").rglob("*") if path.is_file())


def leftovers(store):
    return [path for path in store.folder.glob("writing-*/*") if path.name != "owner"]


def test_what_was_put_comes_back(tmp_path):
    store = Store(tmp_path / "new" / "store")
    assert store.get(KEY) is None
    store.put(KEY, output())
    got = Store(store.folder).get(KEY)
    assert got.facts == output().facts and list(got.tables) == ["t/ü", "void"]
    pd.testing.assert_frame_equal(got.tables["t/ü"], output().tables["t/ü"])
    for name, array in output().arrays.items():
        assert got.arrays[name].dtype == array.dtype and got.arrays[name].shape == array.shape
        assert got.arrays[name].tobytes() == array.tobytes()
    got.arrays["a"][0, 0] = 9.0  # it is the reader's own
    assert store.get(KEY).arrays["a"][0, 0] == 0.0 and not leftovers(store)


def test_the_same_output_is_the_same_bytes(tmp_path):
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    assert one.put(KEY, output()) == other.put(KEY, output())
    assert [path.read_bytes() for path in files(one)] == [path.read_bytes() for path in files(other)]


@pytest.mark.parametrize("how", ["cut", "changed", "removed", "emptied"])
@pytest.mark.parametrize("which", range(6))
def test_what_is_damaged_is_as_if_it_were_not_there(tmp_path, how, which):
    store = Store(tmp_path)
    store.put(KEY, output())
    store.put("cd" * 32, output())
    path = files(store)[which]
    content = bytearray(path.read_bytes())
    if how == "removed" or not content:  # an empty file has nothing else to lose
        path.unlink()
    elif how == "changed":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2 if how == "cut" else 0])
    assert store.get(KEY) is None and not (tmp_path / "parts" / "ab" / KEY).exists()
    assert store.get("cd" * 32).facts["n"] == 3 and not leftovers(store)
    store.put(KEY, output())
    assert store.get(KEY).facts["n"] == 3


def test_a_part_in_the_place_of_another_is_none(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, output())
    (tmp_path / "parts" / "ab" / KEY).rename(tmp_path / "parts" / "ab" / ("ab" + "0" * 62))
    assert store.get("ab" + "0" * 62) is None


def test_damage_while_it_is_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "WAITS", (0.0,))
    store = Store(tmp_path)
    store.put(KEY, output())
    got = store.get(KEY)
    files(store)[0].write_bytes(b"x")
    with pytest.raises(SaeInputError, match="was damaged or removed while the run went on"):
        got.tables["t/ü"]
    with pytest.raises(SaeInputError, match="was damaged or removed"):
        store.read(KEY)


def test_a_disk_that_shows_a_part_late_is_waited_for(tmp_path):
    store = Store(tmp_path)
    timer = threading.Timer(0.2, lambda: Store(tmp_path).put(KEY, output()))
    timer.start()
    assert store.read(KEY).facts["n"] == 3
    timer.join()


def test_the_first_of_two_writers_stays(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    store.put(KEY, output(1))
    other.put(KEY, output(2))
    assert store.get(KEY).facts["n"] == 1 and not leftovers(store)


def test_many_writers_of_one_key_leave_one_whole_part(tmp_path):
    stores = [Store(tmp_path) for _ in range(6)]
    barrier = threading.Barrier(6)

    def write(store):
        for k in range(5):
            barrier.wait()
            store.put(f"{k:02d}" * 32, output())

    threads = [threading.Thread(target=write, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stores[0].get(f"{k:02d}" * 32).facts["n"] == 3 for k in range(5)) and not leftovers(stores[0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Output({"t": pd.DataFrame({"a": [1j]})}), "table 't': the column 'a'"),
        (Output(arrays={"a": np.array(["x"])}), "array 'a': values of <U1 are no plain numbers"),
        (Output(facts={"n": np.int64(3)}), "the facts are no JSON: .*int64"),
    ],
)
def test_what_would_not_come_back_leaves_nothing(tmp_path, bad, message):
    store = Store(tmp_path)
    with pytest.raises(TypeError, match=message):
        store.put(KEY, bad)
    assert not files(store) and not leftovers(store)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file")
def test_a_full_disk_is_named_and_nothing_is_broken(tmp_path):
    import resource

    store = Store(tmp_path)
    store.put(KEY, output())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # Python ignores the signal of this limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(SaeInputError, match=r"The disk of .* is full.*What is finished stays") as error:
            store.put("cd" * 32, Output(arrays={"a": np.zeros(50_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.hint == "Make room and run again."
    assert store.get(KEY).facts["n"] == 3 and store.get("cd" * 32) is None and not leftovers(store)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_disk_that_is_full_at_the_rename_or_the_ledger(tmp_path, monkeypatch, number):
    def full(*paths):
        raise OSError(number, os.strerror(number))

    store = Store(tmp_path)
    monkeypatch.setattr(locks, "rename", full)
    with pytest.raises(SaeInputError, match="is full"):
        store.put(KEY, output())
    assert not files(store) and not leftovers(store)
    monkeypatch.setattr(type(tmp_path), "open", full)
    with pytest.raises(SaeInputError, match="is full"):
        store.note({"name": "a"})


def test_a_folder_that_cannot_be_written_is_named_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SaeInputError, match=r"The folder .*file.* cannot be written"):
            Store(place)

    def refused(*args, **named):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(stores.tempfile, "mkdtemp", refused)
    with pytest.raises(SaeInputError, match="cannot be written: Read-only file system"):
        Store(tmp_path)


def test_the_ledger_goes_on_after_a_torn_line(tmp_path):
    store = Store(tmp_path)
    assert list(store.ledger()) == []
    store.note({"name": "a ü"})
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"name": "ha')
    store.note({"name": "b"})
    assert [entry["name"] for entry in store.ledger()] == ["a ü", "b"]


@forks
def test_what_a_killed_process_had_begun_is_removed_by_the_next_and_of_a_living_one_it_stays(tmp_path):
    living = Store(tmp_path)
    child = os.fork()
    if not child:
        store = Store(tmp_path)
        (store.mark.parent / "half").mkdir()
        os._exit(9)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob("writing-*"))) == 2
    Store(tmp_path)
    assert living.mark.exists() and not leftovers(living)


def test_a_file_system_without_locks_serves_as_well(tmp_path, monkeypatch):
    def refused(file):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(locks, "lock", refused)
    (tmp_path / "writing-x").mkdir()
    (tmp_path / "writing-x" / "owner").touch()  # of a process that may live: nobody can know
    store = Store(tmp_path)
    store.put(KEY, output())
    assert store.get(KEY).facts["n"] == 3 and (tmp_path / "writing-x").is_dir()


def test_in_another_process_the_folder_must_be_there(tmp_path):
    store = Store(tmp_path / "s")
    sent = pickle.dumps(store)
    assert pickle.loads(sent).folder == store.folder and pickle.loads(sent) is pickle.loads(sent)
    store.remove()
    assert not store.folder.exists()
    with pytest.raises(SaeInputError, match="A worker does not see the folder") as error:
        pickle.loads(sent)
    assert "share" in error.value.hint
    Store(tmp_path / "s")
    assert pickle.loads(sent).mark.exists()  # in a new folder of the same name


def test_the_record_says_what_lies_in_a_part(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, output())
    record = json.loads((tmp_path / "parts" / "ab" / KEY / "part.json").read_text().split("\n", 1)[1])
    assert [entry["file"] for entry in record["files"]] == [
        "0.parquet",
        "1.parquet",
        "2.bin",
        "3.bin",
        "4.bin",
    ]
    assert pd.read_parquet(tmp_path / "parts" / "ab" / KEY / "0.parquet").columns.tolist() == ["0 geo", "1 x"]
