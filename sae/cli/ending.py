"""How a command ends: its exit code, one sentence for an error, the signals that stop it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from sae.cli.printing import complain
from sae.errors import SaeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DIFFERENT", "DONE", "PARTLY", "REFUSED", "guarded", "sentence", "signals_end"]

DONE, PARTLY, REFUSED, CLOSED = 0, 1, 2, 141
DIFFERENT = 1  # of two results
# they end a command as Ctrl-C does, with the old results as they were; SIGBREAK is Ctrl-Break on Windows
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


class _Ended(KeyboardInterrupt):
    """A signal asked for the end; `number` says which."""

    number: int = signal.SIGINT

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def _end(number: int, frame: FrameType | None) -> None:
    raise _Ended(number)


@contextmanager
def signals_end() -> Iterator[None]:
    """Let the signals that ask for the end stop what runs, as Ctrl-C does."""
    # a signal that is ignored, as nohup does it, stays so
    numbers = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Turn errors into one readable message and the exit code that the help promises."""

    @wraps(command)
    def guarded(*args: Any, debug: bool = False, **options: Any) -> None:
        try:
            code = command(*args, debug=debug, **options)
        except KeyboardInterrupt as end:
            complain(f"Interrupted: {'; '.join(getattr(end, '__notes__', ())) or 'nothing was written'}.")
            code = 128 + (end.number if isinstance(end, _Ended) else signal.SIGINT)
        except BrokenPipeError:  # who read the output, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = CLOSED
        except Exception as error:
            if debug:
                raise
            complain(sentence(error))
            code = REFUSED
        raise typer.Exit(code)

    return guarded


def sentence(error: Exception) -> str:
    """Return what a person is told of an error."""
    if isinstance(error, SaeError):
        return f"Error: {error}"
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"Error: {place}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "Error: the data do not fit into the memory of this machine."
    return (
        f"Unexpected {type(error).__name__}: {error}\n"
        "A fault of sae itself: please report it, with what --debug shows."
    )
