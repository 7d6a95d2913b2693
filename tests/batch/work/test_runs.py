"""A second run into the same folder is refused by name; a dead one's lock is nobody's."""

import errno
import os
import platform

import pytest

from sae.batch import locks
from sae.batch.work import one_run
from sae.errors import SaeInputError


def test_a_second_run_is_refused_with_who_runs_where_since_when(tmp_path):
    with one_run(tmp_path, "lfs"):
        message = (
            rf"lfs is being run into .* by process {os.getpid()} on {platform.node()} since 2\d\d\d-.* UTC"
        )
        with pytest.raises(SaeInputError, match=message), one_run(tmp_path, "lfs"):
            pytest.fail("the work began")
        with one_run(tmp_path, "other"):
            pass
    with one_run(tmp_path, "lfs"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    child = os.fork()
    if not child:
        with one_run(tmp_path, "lfs"):
            os._exit(9)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    with one_run(tmp_path, "lfs"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_locks_a_run_goes_on(tmp_path, monkeypatch):
    def refused(file):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(locks, "lock", refused)
    with one_run(tmp_path, "lfs"), one_run(tmp_path, "lfs"):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaeInputError, match="file cannot be written"), one_run(tmp_path / "file", "lfs"):
        pytest.fail("the work began")
