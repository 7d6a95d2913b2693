"""Where a production keeps what is finished until its results are written, and who may work there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sae.batch.production.engine import Engine, Shard
from sae.batch.staging import results_folder
from sae.batch.work import (
    Item,
    Output,
    Store,
    executed,
    item_keys,
    one_run,
)
from sae.errors import SaeInputError

__all__ = ["Workplace", "workplace"]

SHARES = "shares"  # file with the number of shards
LINE = b'{"time": "'  # with which every line of a log begins


@dataclass(frozen=True)
class Workplace:
    """The store of a production that goes on, and who performs its items.

    Attributes
    ----------
    store : Store
    shares : int
        Number of shards.
    engine : Engine
    """

    store: Store
    shares: int
    engine: Engine

    def executed(self, items: Sequence[Item]) -> Mapping[str, Output]:
        """Do the items that are not finished, and give their outputs."""
        if not items:  # of registers and tables alone
            return {}
        with self.engine.executor(sum(item.cost for item in items)) as executor:
            return executed(items, self.store, executor, self.engine.watch, log=self.engine.log)

    def lacking(self, items: Sequence[Item]) -> list[str]:
        """Return the names of items that are not finished."""
        return [name for name, key in item_keys(items).items() if self.store.get(key) is None]


@contextmanager
def workplace(
    out: Path, identifier: str, engine: Engine, shard: Shard | None = None, *, merge: bool = False
) -> Iterator[Workplace]:
    """Give the workplace of a production in its folder of results, to one run at a time, or to each shard.

    What is finished stays there, whatever happens, until the store is removed. With `merge` some must be.

    Raises
    ------
    SaeInputError
        If another run is at work there, or shards of another number; if the folder, or the log, cannot be
        written.
    """
    with ExitStack() as stack:
        out = stack.enter_context(results_folder(out))
        _check_log(engine.log)
        folder = out / f".sae-work-{identifier}"
        shares = _shares(folder) or (shard.of if shard else 1)
        if merge and _shares(folder) is None:
            raise SaeInputError(
                f"No shard of {identifier} has been run into {out}.",
                hint="Run each with --shard and the same --out first, or sae run without shards.",
            )
        own = [shard] if shard else [Shard(k, shares) for k in range(1, shares + 1)]
        for one in own:
            title = identifier if shares == 1 else f"{identifier} shard {one.number} of {one.of}"
            stack.enter_context(one_run(out, title))
        if shard and shard.of != shares:
            begun = f"in {shares} shards" if shares > 1 else "without shards"
            raise SaeInputError(
                f"A run of {identifier} {begun} has begun in {out}: {shard} is none of them.",
                hint=f"Finish it, or remove {folder}.",
            )
        store = Store(folder)
        (folder / SHARES).write_text(str(shares), encoding="utf-8")
        try:
            yield Workplace(store, shares, engine)
        except KeyboardInterrupt as end:
            if any(store.ledger()):
                end.add_note("what is finished is kept: run again to go on")
            raise


def _check_log(path: Path | None) -> None:
    """Refuse a log that cannot be written, or a file of something else, to which its lines would be added."""
    if path is None:
        return
    try:
        if not path.exists():
            os.stat(path.parent)
            return
        with path.open("rb") as file:
            head = file.read(len(LINE))
    except OSError as error:
        raise SaeInputError(f"The log {path} cannot be written: {error.strerror or error}.") from None
    if head and head != LINE:
        raise SaeInputError(
            f"{path} is no log: lines of the log would be added to it.", hint="Name another file with --log."
        )


def _shares(folder: Path) -> int | None:
    try:
        return int((folder / SHARES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
