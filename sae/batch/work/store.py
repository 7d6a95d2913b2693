"""A folder of finished outputs: each is there whole, under its key, or not at all (decision 15)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
import pandas as pd

from sae.batch import locks
from sae.batch.work.columns import frame_from_parquet, frame_to_parquet
from sae.batch.work.items import Output, Reader
from sae.errors import SaeInputError

__all__ = ["Store"]

WAITS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0)  # seconds for a shared disk to show what was written elsewhere
LEDGER, PARTS, WRITING, OWNER, RECORD = "ledger.jsonl", "parts", "writing-", "owner", "part.json"


class Store:
    """Finished outputs by key, for this run and the ones after it.

    Several processes may read and write at once, on several machines if all see the folder. A part is built
    aside and renamed into its place; its record has the hash of every file in it and of itself. Nothing is
    forced to the disk: a part that a loss of power spoils does not have its hash, and is done again.

    Parameters
    ----------
    folder : path
        Made if it is not there.

    Raises
    ------
    SaeInputError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from sae.batch.work import Output, Store
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = Store(folder.name)
    >>> _ = store.put("ab12", Output({"t": pd.DataFrame({"geo": ["01"]})}, {"n": 3}))
    >>> output = store.get("ab12")
    >>> output.facts["n"], output.tables["t"]["geo"].tolist()
    (3, ['01'])
    >>> store.remove(); folder.cleanup()
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(os.path.abspath(folder))
        self._owner: BinaryIO | None = None
        with self._usable():
            (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
            self._clean()
            self._writing()

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Path]]:
        return _seen, (self.folder,)

    def get(self, key: str) -> Output | None:
        """Return the output of a key, read when looked at; None if it is not there whole.

        What is damaged is removed.
        """
        record = self._record(key)
        if record is None or not all(self._whole(key, entry) for entry in record["files"]):
            self._drop(key)
            return None
        return self._output(key, record)

    def read(self, key: str) -> Output:
        """Return the output of a key that is known to be there; each part is verified when it is looked at.

        Raises
        ------
        SaeInputError
            If it is no longer there whole.
        """
        for seconds in WAITS:
            if (record := self._record(key)) is not None:
                return self._output(key, record)
            time.sleep(seconds)
            with suppress(OSError):  # a shared disk may show only to who lists the folder what another wrote
                os.listdir(self._place(key).parent)
        raise self._damaged(key)

    def put(self, key: str, output: Output) -> str:
        """Write an output, whole or not at all, and return its hash; who came first with a key stays.

        Raises
        ------
        SaeInputError
            If the folder cannot be written or its disk is full.
        TypeError
            If something in `output` would not come back as it is.
        """
        with self._usable():
            part = self._writing() / uuid4().hex
            part.mkdir()
            try:
                digest = _write_part(part, key, output)
                self._settle(part, key)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return digest

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the ledger."""
        with self._usable(), (self.folder / LEDGER).open("ab+") as file:
            torn = False
            if file.tell():
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"  # a killed run's
            file.write(b"\n" * torn + json.dumps(dict(entry), sort_keys=True).encode() + b"\n")

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Give what the ledger has of each item that was done, in that order."""
        with suppress(FileNotFoundError), (self.folder / LEDGER).open(encoding="utf-8") as file:
            for line in file:
                with suppress(ValueError):  # torn
                    yield json.loads(line)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def mark(self) -> Path:
        """A file that is there as long as this process uses the store: who sees it sees the same folder."""
        return self._writing() / OWNER

    def _place(self, key: str) -> Path:
        return self.folder / PARTS / key[:2] / key

    def _record(self, key: str) -> dict[str, Any] | None:
        """Return the record of a part, if it is whole and the key's."""
        try:
            digest, content = (self._place(key) / RECORD).read_bytes().split(b"\n", 1)
            if _hash(content).encode() != digest:
                return None
            record: dict[str, Any] = json.loads(content)
        except (OSError, ValueError):
            return None
        return record if record["key"] == key else None

    def _whole(self, key: str, entry: Mapping[str, Any]) -> bool:
        try:
            with (self._place(key) / entry["file"]).open("rb") as file:
                return file_digest(file, "sha256").hexdigest() == entry["sha256"]
        except OSError:
            return False

    def _output(self, key: str, record: Mapping[str, Any]) -> Output:
        files = {(entry["kind"], entry["name"]): entry for entry in record["files"]}

        def table(name: str) -> pd.DataFrame:
            entry = files["table", name]
            return frame_from_parquet(self._content(key, entry), entry)

        def array(name: str) -> np.ndarray:
            entry = files["array", name]
            return self._content(key, entry).view(entry["dtype"]).reshape(entry["shape"])

        tables, arrays = ([n for kind, n in files if kind == which] for which in ("table", "array"))
        return Output(Reader(tables, table), record["facts"], Reader(arrays, array))

    def _content(self, key: str, entry: Mapping[str, Any]) -> np.ndarray:
        try:
            content = np.fromfile(self._place(key) / entry["file"], dtype=np.uint8)
        except OSError:
            raise self._damaged(key) from None
        if _hash(content.data) != entry["sha256"]:
            self._drop(key)
            raise self._damaged(key)
        return content

    def _damaged(self, key: str) -> SaeInputError:
        return SaeInputError(
            f"The part {key[:12]} in {self.folder} was damaged or removed while the run went on.",
            hint="Run again: what is whole is not done again.",
        )

    def _drop(self, key: str) -> None:
        """Take a part out of its place at once, then remove it."""
        if self._place(key).exists():
            aside = self._writing() / uuid4().hex
            with suppress(FileNotFoundError):  # another process was faster
                locks.rename(self._place(key), aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _settle(self, part: Path, key: str) -> None:
        """Rename a part into its place, unless a whole one is there."""
        place = self._place(key)
        place.parent.mkdir(exist_ok=True)
        while not (place.is_dir() and self.get(key)):
            try:
                locks.rename(part, place)
            except OSError as error:
                if not place.is_dir() or error.errno in locks.FULL:
                    raise
                continue  # another process was faster
            return

    def _writing(self) -> Path:
        """Return this process's folder for what is not yet whole; it is ours while the process lives."""
        while self._owner is None or not Path(self._owner.name).exists():
            folder = Path(tempfile.mkdtemp(prefix=WRITING, dir=self.folder))
            with suppress(FileNotFoundError):  # another process cleaned, between two lines of ours
                self._owner = locks.taken(folder / OWNER)
        return Path(self._owner.name).parent

    def _clean(self) -> None:
        """Remove what killed processes had begun."""
        for folder in self.folder.glob(f"{WRITING}*"):
            try:
                with (folder / OWNER).open("r+b") as owner:
                    locks.lock(owner)  # of a living process: refused
            except OSError:
                continue
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in locks.FULL:
                raise SaeInputError(
                    f"The disk of {self.folder} is full: {error.strerror or error}. What is finished stays.",
                    hint="Make room and run again.",
                ) from None
            raise SaeInputError(
                f"The folder {self.folder} cannot be written: {error.strerror or error}.",
                hint="Name another output folder.",
            ) from None


_opened = cache(Store)  # one in a process, with one folder for what it writes


def _seen(folder: Path) -> Store:
    """Open a store in another process, which may stand on another machine."""
    if not (folder / PARTS).is_dir():
        raise SaeInputError(
            f"A worker does not see the folder {folder}.",
            hint="Workers on other machines need an output folder on a disk that all of them share.",
        )
    return _opened(folder)


def _write_part(part: Path, key: str, output: Output) -> str:
    files: list[dict[str, Any]] = []

    def write(kind: str, name: str, ending: str, content: Any, more: Mapping[str, Any]) -> None:
        file = f"{len(files)}.{ending}"
        (part / file).write_bytes(content)
        files.append({"kind": kind, "name": name, "file": file, "sha256": _hash(content), **more})

    for name, frame in output.tables.items():
        try:
            content, columns = frame_to_parquet(frame)
        except TypeError as error:
            raise TypeError(f"table {name!r}: {error}") from None
        write("table", name, "parquet", content, columns)
    for name, array in output.arrays.items():
        if array.dtype.kind not in "biufc":
            raise TypeError(f"array {name!r}: values of {array.dtype} are no plain numbers")
        more = {"dtype": array.dtype.str, "shape": list(array.shape)}
        write("array", name, "bin", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, more)
    text = json.dumps({"key": key, "files": files, "facts": _json(output.facts)}, sort_keys=True)
    digest = _hash(text.encode())
    (part / RECORD).write_bytes(f"{digest}\n{text}".encode())
    return digest


def _json(facts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(dict(facts), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the facts are no JSON: {error}") from None
    return dict(facts)


def _hash(content: Any) -> str:
    return sha256(content).hexdigest()
