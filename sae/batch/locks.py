"""Locks that end with their process, and renames that wait for a virus scanner."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FULL", "WINDOWS", "lock", "patiently", "rename", "taken"]

T = TypeVar("T")

RETRIES = 10  # on Windows, where a virus scanner or another run has a file for a moment
WINDOWS = sys.platform == "win32"
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # errors of a disk without room


def taken(path: Path) -> BinaryIO | None:
    """Return the file of a lock, opened and locked; None while another run has it."""
    file = patiently(lambda: path.open("ab"))
    try:
        lock(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            file.close()
            return None
        # no locks on this file system: go on, as the only run that the user will start
    if _names(path, file):
        return file
    file.close()  # who held the lock has removed the file
    return None


def _names(path: Path, file: BinaryIO) -> bool:
    """Whether the file at `path` is the one that was opened."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def lock(file: BinaryIO) -> None:
    """Lock an open file until it is closed or the process ends, however it does."""
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def rename(source: Path, target: Path) -> None:
    """Replace `target` by `source`."""
    patiently(lambda: os.replace(source, target))


def patiently(work: Callable[[], T]) -> T:
    """Do what Windows refuses for a moment, while another process has the file, a few times over."""
    for _ in range(RETRIES if WINDOWS else 0):
        try:
            return work()
        except PermissionError:
            time.sleep(0.05)
    return work()
