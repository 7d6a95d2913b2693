"""A folder of results goes from one whole set to the next, whoever is killed on the way (decision 8)."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sae.batch import locks
from sae.batch.locks import FULL, WINDOWS, rename, taken
from sae.batch.outputs import MANIFEST, merge_manifest, refuse_folder, refuse_taken
from sae.errors import SaeInputError

__all__ = ["results_folder", "staged"]

STAGE, LOCK, OWNER = ".sae-partial-", ".sae-lock", "owner"
NEW, READY, OLD = "new", "ready", "old"  # being written; whole, so that it is current; what it replaces
WAIT = 60.0  # seconds for another run to move its files, which takes milliseconds


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
            if error.errno not in FULL:
                raise
            raise SaeInputError(
                f"The disk of {out} is full: {error.strerror or error}. The results there are as they were.",
                hint="Make room, or name an output folder on another disk.",
            ) from None


@contextmanager
def results_folder(out: str | Path) -> Iterator[Path]:
    """Make a folder for results, and give its full path; if nothing comes into it, it goes again.

    Raises
    ------
    SaeInputError
        If it cannot be made.
    """
    with ExitStack() as stack:
        with _writable(Path(out)):
            out = Path(os.path.abspath(out))
            made = [folder for folder in (out, *out.parents) if not folder.exists()]
            stack.callback(_remove_empty, made)
            if out.exists() and not out.is_dir():
                raise NotADirectoryError(0, "it is a file")
            out.mkdir(parents=True, exist_ok=True)
        yield out


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SaeInputError(
            f"The output folder {out} cannot be written: {error.strerror or error}.",
            hint="Name another output folder.",
        ) from None


def _begin(out: str | Path, stack: ExitStack) -> tuple[Path, Path]:
    """Make `out` and a stage in it that is ours while this process lives."""
    out = stack.enter_context(results_folder(out))
    with _writable(out):
        with _alone(out):
            _recover(out)
            stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=out))
            stack.callback(shutil.rmtree, stage, ignore_errors=True)
            owner = stack.enter_context((stage / OWNER).open("wb"))
            with suppress(
                OSError
            ):  # a file system without locks: nobody will take the stage for a dead one's
                locks.lock(owner)
        (stage / NEW).mkdir()
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
                locks.lock(owner)  # of a living run: refused
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
        rename(stage / NEW, stage / READY)
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
                rename(out / name, stage / OLD / name)
            rename(stage / READY / name, out / name)
    (stage / READY).rmdir()


def _back(stage: Path, out: Path, names: Iterable[str]) -> None:
    """Undo what `_forward` did; killed meanwhile, the set is still whole, and the next run moves it on."""
    for name in names:
        if not os.path.lexists(stage / READY / name):
            rename(out / name, stage / READY / name)
        if os.path.lexists(stage / OLD / name):
            rename(stage / OLD / name, out / name)
    rename(stage / READY, stage / "dropped")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Wait until no other run begins or ends in `out`."""
    path, end = out / LOCK, time.monotonic() + WAIT
    while (file := taken(path)) is None:
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
