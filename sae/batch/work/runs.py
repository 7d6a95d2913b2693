"""One run at a time into a folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sae.batch import locks
from sae.errors import SaeInputError

__all__ = ["one_run"]


@contextmanager
def one_run(folder: str | Path, identifier: str) -> Iterator[None]:
    """Refuse to run while another process runs the same into the same folder.

    The system's lock decides, which ends with its process however that ends; on a file system without locks
    nobody is refused.

    Parameters
    ----------
    folder : path
        It is there.
    identifier : str
        Of what runs.

    Raises
    ------
    SaeInputError
        If another process does, with its number, its machine and since when; or if the folder cannot be
        written.
    """
    path = Path(folder) / f".{identifier}.running"
    note = path.with_suffix(".run.json")  # beside the lock, which Windows lets nobody read
    try:
        file = locks.taken(path)
        if file is not None:
            own = {
                "pid": os.getpid(),
                "host": platform.node(),
                "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            }
            note.write_text(json.dumps(own), encoding="utf-8")
    except OSError as error:
        raise SaeInputError(
            f"The folder {folder} cannot be written: {error.strerror or error}.",
            hint="Name another output folder.",
        ) from None
    if file is None:
        raise SaeInputError(
            f"{identifier} is being run into {folder} by {_other(note)}.",
            hint="Wait for its end, or name another output folder.",
        )
    with file:
        try:
            yield
        finally:
            for one in (note, path):
                with suppress(OSError):  # Windows keeps a file that is open
                    one.unlink()
    if locks.WINDOWS:
        with suppress(OSError):  # another run has it
            path.unlink()


def _other(note: Path) -> str:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return f"process {known['pid']} on {known['host']} since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
