"""A folder of results goes from one whole set to the next, whoever is killed on the way (decision 8)."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from sae.batch.outputs import MANIFEST, merge_manifest, refuse_folder, refuse_taken
from sae.errors import SaeInputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["staged"]

T = TypeVar("T")

STAGE, LOCK, OWNER = ".sae-partial-", ".sae-lock", "owner"
NEW, READY, OLD = "new", "ready", "old"  # being written; whole, so that it is current; what it replaces
WAIT = 60.0  # seconds for another run to move its files, which takes milliseconds
RETRIES = 10  # on Windows, where a virus scanner or another run has a file for a moment
WINDOWS = sys.platform == "win32"
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def staged(out: str | Path, identifier: str = "", inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """Give a folder to build in; what lies there moves into `out` at the end, or disappears on any error.

    Files of `out` with other names stay. An error or an interruption while files move puts the old ones back.
    What a killed run left behind is finished, if its set was whole, or else removed. Several runs may write
    into one folder at once.

    Parameters
    ----------
    out : path
    identifier : str
        Of the model whose results these will be.
    inputs : iterable of path
        Files that no result may replace.

    Raises
    ------
    SaeInputError
        At once, before any work, if `out` cannot be written, another model's results or a folder stand where
        those of `identifier` would, or a result would replace an input. Later, if the disk is full.
    """
    with ExitStack() as stack:
        out, stage = _begin(out, stack)
        refuse_taken(out, identifier, inputs)
        try:
            yield stage / NEW
            with _alone(out):
                _commit(stage, out)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise SaeInputError(
                f"The disk of {out} is full: {error.strerror or error}. The results there are as they were.",
                hint="Make room, or name an output folder on another disk.",
            ) from None


def _begin(out: str | Path, stack: ExitStack) -> tuple[Path, Path]:
    """Make `out` and a stage in it that is ours while this process lives; an empty `out` goes again."""
    try:
        out = Path(os.path.abspath(out))
        made = [folder for folder in (out, *out.parents) if not folder.exists()]
        stack.callback(_remove_empty, made)
        if out.exists() and not out.is_dir():
            raise NotADirectoryError(0, "it is a file")
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            _recover(out)
            stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=out))
            stack.callback(shutil.rmtree, stage, ignore_errors=True)
            owner = stack.enter_context((stage / OWNER).open("wb"))
            with suppress(
                OSError
            ):  # a file system without locks: nobody will take the stage for a dead one's
                _lock(owner)
        (stage / NEW).mkdir()
    except OSError as error:
        raise SaeInputError(
            f"The output folder {out} cannot be written: {error.strerror or error}.",
            hint="Name another output folder.",
        ) from None
    return out, stage


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # the results are there, or someone put a file there meanwhile
        for folder in folders:
            folder.rmdir()


def _recover(out: Path) -> None:
    """Finish what dead runs had ready, and remove what they had not."""
    for stage in sorted(out.glob(f"{STAGE}*")):
        try:
            with (stage / OWNER).open("ab") as owner:
                _lock(owner)  # of a living run: refused
        except OSError:
            continue
        if (stage / READY).is_dir():
            _forward(stage, out)
        shutil.rmtree(stage, ignore_errors=True)


def _commit(stage: Path, out: Path) -> None:
    _recover(out)  # who died since this run began
    merge_manifest(stage / NEW, out)
    names = sorted(path.name for path in (stage / NEW).iterdir())
    for name in names:
        refuse_folder(out / name)
    with _replacing(out):
        _rename(stage / NEW, stage / READY)
    try:
        _forward(stage, out)
    except BaseException:
        _back(stage, out, names)
        raise


@contextmanager
def _replacing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SaeInputError(
            f"The results in {out} cannot be replaced: {error.strerror or error}.",
            hint="Close the programs that have them open, and run again.",
        ) from None


def _forward(stage: Path, out: Path) -> None:
    """Move a set that is whole into `out`, the record last, and put by what it replaces."""
    (stage / OLD).mkdir(exist_ok=True)
    names = sorted(path.name for path in (stage / READY).iterdir())
    with _replacing(out):
        for name in sorted(names, key=lambda name: (name == MANIFEST, name)):
            if os.path.lexists(out / name):
                _rename(out / name, stage / OLD / name)
            _rename(stage / READY / name, out / name)
    (stage / READY).rmdir()


def _back(stage: Path, out: Path, names: Iterable[str]) -> None:
    """Undo what `_forward` did; killed meanwhile, the set is still whole, and the next run moves it on."""
    for name in names:
        if not os.path.lexists(stage / READY / name):
            _rename(out / name, stage / READY / name)
        if os.path.lexists(stage / OLD / name):
            _rename(stage / OLD / name, out / name)
    _rename(stage / READY, stage / "dropped")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait until no other run begins or ends in `out`."""
    path, end = out / LOCK, time.monotonic() + WAIT
    while (file := _taken(path)) is None:
        if time.monotonic() > end:
            raise SaeInputError(
                f"Another run has been writing into {out} for {WAIT:.0f} seconds.",
                hint="Wait for its end, or name another output folder.",
            )
        time.sleep(0.02)
    with file:
        try:
            yield
        finally:
            if not WINDOWS:
                path.unlink(missing_ok=True)
    if WINDOWS:
        with suppress(OSError):  # another run waits for it
            path.unlink()


def _taken(path: Path) -> BinaryIO | None:
    """Return the file of a lock, opened and locked; None while another run has it."""
    file = _patiently(lambda: path.open("ab"))
    try:
        _lock(file)
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


def _lock(file: BinaryIO) -> None:
    """Lock an open file until it is closed or the process ends, however it does."""
    if sys.platform == "win32":
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _rename(source: Path, target: Path) -> None:
    _patiently(lambda: os.replace(source, target))


def _patiently(work: Callable[[], T]) -> T:
    """Do what Windows refuses for a moment, while another process has the file, a few times over."""
    for _ in range(RETRIES if WINDOWS else 0):
        try:
            return work()
        except PermissionError:
            time.sleep(0.05)
    return work()
