"""What a command prints: results on stdout; complaints and what is being done on stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sae.progress import shown_by

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Show", "complain", "print_table", "progress"]


class Show(Protocol):
    """What shows a step to a person, and the share of the work that is done, where it is known."""

    def __call__(self, step: str, share: float | None = None) -> None: ...  # noqa: D102


def complain(message: str) -> None:
    """Print a line for a person, beside the results."""
    print(message, file=sys.stderr)


@contextmanager
def progress() -> Iterator[Show]:
    """Give a function that shows what is being done, and the share that is, to a person on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = BarColumn(bar_width=20)
    columns = (SpinnerColumn("line"), TimeElapsedColumn(), bar, TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)
        at = ""

        def update(text: str, share: float | None = None) -> None:
            total = None if share is None else 1.0
            progress.update(task, description=text, total=total, completed=share or 0.0)

        def show(step: str, share: float | None = None) -> None:
            nonlocal at
            at = step
            update(step, share)

        def count(text: str, share: float | None = None) -> None:
            update(f"{at}: {text}" if text else at, share)

        with shown_by(count):
            yield show


def print_table(heads: list[str], rows: list[list[str]]) -> None:
    """Print a table of which nothing is cut: the last column is folded."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=head != heads[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
