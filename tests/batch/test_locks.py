"""A lock is one process's, and ends with it."""

import os

import pytest

from sae.batch.locks import WINDOWS, taken


def test_a_lock_is_had_once(tmp_path):
    with taken(tmp_path / "lock"):
        assert taken(tmp_path / "lock") is None
    with taken(tmp_path / "lock") as again:
        assert again is not None


@pytest.mark.skipif(WINDOWS, reason="Windows keeps a file that is open")
def test_the_lock_of_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    removed = []

    def same(*pair):
        removed.append(pair)
        raise FileNotFoundError

    monkeypatch.setattr(os.path, "samestat", same)
    assert taken(tmp_path / "lock") is None and removed
