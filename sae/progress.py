"""How far long work is, shown to a person who watches: on a terminal or in a notebook, after a second.

Nothing is shown in a pipe, in a file, in a notebook that runs by itself, and in a worker of a batch.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

__all__ = ["counting", "shown", "shown_by"]

_PATIENCE = 1.0  # seconds without a word
_PAUSE = 0.2  # between two counts that are shown


class Show(Protocol):
    """What shows a count, and the share that is done where it is known; "" ends it."""

    def __call__(self, text: str, share: float | None = None) -> None: ...


_SHOW: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Give the counts of the work inside to `show`."""
    token = _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.reset(token)


@contextmanager
def shown() -> Iterator[None]:
    """Show the counts of the work inside to a person who watches, unless the work around this does."""
    show = None if _SHOW.get() is not None else _line()
    if show is None:
        yield
        return
    try:
        with shown_by(show):
            yield
    finally:
        show("")


def counting(what: str, total: int | None, unit: str) -> Callable[[int], None]:
    """Return what counts steps of long work; any thread may call it.

    Parameters
    ----------
    what : str
        The work: "Bootstrap".
    total : int or None
        Steps to come, where that is known.
    unit : str
        What the steps are: "replicates".

    Returns
    -------
    callable
        Takes the number of steps that were done since the last call.

    Examples
    --------
    >>> from sae.progress import counting, shown_by
    >>> with shown_by(lambda text, share=None: print(text)):
    ...     step = counting("Bootstrap", 200, "replicates")
    ...     step(100)  # within a second nothing is shown
    """
    show = _SHOW.get()
    return (lambda steps: None) if show is None else _Count(show, what, total, unit).add


class _Count:
    """Steps that are done."""

    def __init__(self, show: Show, what: str, total: int | None, unit: str) -> None:
        self.show, self.what, self.total, self.unit = show, what, total, unit
        self.done, self.visible = 0, False
        self.began = time.monotonic()
        self.next = self.began + _PATIENCE
        self.lock = threading.Lock()

    def add(self, steps: int) -> None:
        with self.lock:
            self.done += steps
            now = time.monotonic()
            if self.done == self.total:
                if self.visible:
                    self.show("")
            elif now >= self.next:
                self.next, self.visible = now + _PAUSE, True
                self._say(now - self.began)

    def _say(self, passed: float) -> None:
        if self.total is None:
            self.show(f"{self.what}: {self.done:,} {self.unit}")
            return
        left = passed / self.done * (self.total - self.done)
        time_left = f"{left:.0f} s" if left < 100.0 else f"{left / 60.0:.0f} min"
        text = f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {time_left} left"
        self.show(text, self.done / self.total)


def _line() -> Show | None:
    """Return what shows a line to a person, or None where nobody watches."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return None
    if sys.stderr is not None and sys.stderr.isatty():
        return _Terminal(sys.stderr)
    kernel = getattr(_shell(), "kernel", None)
    if kernel is None or not kernel.get_parent().get("content", {}).get("allow_stdin"):
        return None  # whoever runs a notebook for its results alone takes no input
    return _Notebook()


def _shell() -> Any:
    python = sys.modules.get("IPython")
    return None if python is None else python.get_ipython()


class _Terminal:
    """A line on a terminal that is written again and again, and taken away in the end."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.width = stream, 0

    def __call__(self, text: str, share: float | None = None) -> None:
        if not text and not self.width:
            return
        text = text[: max(shutil.get_terminal_size().columns - 1, 0)]
        back = "" if text else "\r"
        self.stream.write(f"\r{text:<{self.width}}{back}")
        self.stream.flush()
        self.width = len(text)


class _Notebook:
    """An output of a cell that changes, and is empty in the end."""

    def __init__(self) -> None:
        self.handle: Any = None

    def __call__(self, text: str, share: float | None = None) -> None:
        from IPython.display import DisplayHandle

        if self.handle is not None:
            self.handle.update({"text/plain": text}, raw=True)
        elif text:
            self.handle = DisplayHandle()
            self.handle.display({"text/plain": text}, raw=True)
