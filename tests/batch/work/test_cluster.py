"""On a Dask cluster a run has the same bytes, and what is wrong with the cluster has a name."""

import subprocess
import sys
from functools import partial

import pytest

from sae.batch.work import Cluster, Item, Store, cluster, executed
from sae.errors import SaeError, SaeInputError, SaeSpecError
from tests.batch.work.jobs import fails, killed, tree
from tests.batch.work.kills import parts

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def local():
    """Two workers in processes of this machine."""
    options = {"dashboard_address": None, "worker_dashboard_address": None, "silence_logs": 50}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),  # so that one death is enough
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=True, **options) as made,
    ):
        yield made.scheduler_address.replace("tcp://", "dask://")


def test_a_cluster_gives_the_bytes_of_one_process(tmp_path, local):
    executed(tree(8), Store(tmp_path / "one"))
    steps = []
    with Cluster(local) as executor:
        assert executor.workers == 2
        executed(tree(8), Store(tmp_path / "cluster"), executor, steps.append)
    assert parts(tmp_path / "one") == parts(tmp_path / "cluster")
    assert max(len(step.running) for step in steps) == 2 and steps[-1].finished == 13


def test_an_error_comes_back_as_it_was_and_the_cluster_serves_on(tmp_path, local):
    items = [Item("slow", {}, partial(fails, seconds=0.2)), Item("fast", {}, partial(fails, kind=KeyError))]
    with Cluster(local) as executor:
        with pytest.raises(SaeInputError, match="It is wrong") as error:
            executed(items, Store(tmp_path), executor)
        assert error.value.hint == "Make it right."
        assert executed(tree(2), Store(tmp_path), executor)["all"].facts["of"] == ["pair 0"]


def test_workers_with_other_versions_are_named(tmp_path, local, monkeypatch):
    executor = Cluster(local)
    executor._versions = {**executor._versions, "numpy": "0.1"}
    with pytest.raises(SaeInputError, match=r"worker tcp://.* of dask://.* has numpy .*, not 0\.1"):
        executor.__enter__()
    monkeypatch.setattr(Cluster, "_check_versions", lambda self: None)  # of a worker that joins later
    with executor, pytest.raises(SaeInputError, match=r"A worker on .* has numpy .*, not 0\.1"):
        executed(tree(2), Store(tmp_path), executor)


def test_workers_that_do_not_see_the_folder_are_named(tmp_path, local, monkeypatch):
    monkeypatch.setattr(Store, "mark", tmp_path / "elsewhere")
    with (
        Cluster(local) as executor,
        pytest.raises(SaeInputError, match="2 of 2 workers do not see the folder"),
    ):
        executed(tree(2), Store(tmp_path), executor)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_worker_that_dies_is_named_with_its_item(tmp_path, local):
    with (
        Cluster(local) as executor,
        pytest.raises(SaeError, match=r"Workers of dask://.* died of 'bad'") as error,
    ):
        executed([Item("bad", {}, killed)], Store(tmp_path), executor)
    assert "memory was too small" in error.value.hint


@pytest.mark.parametrize("address", ["dask://", "dask://host", "tcp://host:1", "host:1", "dask://:8786"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(SaeSpecError, match="is no address of a Dask scheduler") as error:
        Cluster(address)
    assert "dask://HOST:PORT" in error.value.hint


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with pytest.raises(SaeInputError, match=r"No Dask scheduler answers at dask://127\.0\.0\.1:9"):
        Cluster("dask://127.0.0.1:9").__enter__()


def test_a_scheduler_without_workers_is_named(tmp_path):
    options = {"dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(n_workers=0, processes=False, protocol="tcp", **options) as made:
        address = made.scheduler_address.replace("tcp://", "dask://")
        with pytest.raises(SaeInputError, match="has no workers"):
            Cluster(address).__enter__()


def test_a_scheduler_that_goes_away_is_named(tmp_path):
    options = {"dashboard_address": None, "silence_logs": 50, "threads_per_worker": 1}
    made = distributed.LocalCluster(n_workers=1, processes=False, protocol="tcp", **options)
    address = made.scheduler_address.replace("tcp://", "dask://")
    with Cluster(address) as executor:
        watch = lambda progress: made.close() if progress.finished == 3 else None  # noqa: E731
        with pytest.raises(SaeError, match=r"connection to the Dask scheduler at .* was lost"):
            executed(tree(4), Store(tmp_path), executor, watch)


def test_without_dask_it_is_said_what_to_install_and_nothing_else_needs_it():
    text = (
        "import sys\n"
        "sys.modules['distributed'] = None\n"
        "from sae.batch.work import Cluster\n"
        "from sae.errors import SaeSpecError\n"
        "try:\n    Cluster('dask://host:1')\n"
        "except SaeSpecError as error:\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert 'pip install "sae[dask]"' in ended.stdout
