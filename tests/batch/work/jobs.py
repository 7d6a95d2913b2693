"""Toy jobs for the tests of runs: plain functions of a module, as workers import them."""

import ctypes
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sae.batch.work import Item, Output
from sae.errors import SaeInputError


def numbers(needs, *, seed, rows=50, seconds=0.0):
    """A table, facts and an array of one seed."""
    time.sleep(seconds)
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"geo": [f"{k:02d}" for k in range(rows)], "x": rng.normal(size=rows), "in": rng.random(rows) < 0.5}
    )
    return Output({"t": frame}, {"seed": seed, "rows": rows}, {"a": rng.normal(size=(rows, 3))})


def summed(needs, *, seconds=0.0):
    """The sum over what is needed, in the order of the needs."""
    time.sleep(seconds)
    frames = [output.tables["t"] for output in needs.values()]
    total = sum(frame["x"].to_numpy() for frame in frames)
    arrays = {"a": sum(output.arrays["a"] for output in needs.values())}
    frame = pd.DataFrame({"geo": frames[0]["geo"], "x": total, "in": frames[0]["in"]})
    return Output({"t": frame}, {"of": sorted(needs)}, arrays)


def fails(needs, *, kind=SaeInputError, seconds=0.0):
    time.sleep(seconds)
    if kind is SaeInputError:
        raise SaeInputError("It is wrong.", hint="Make it right.", areas=["01"], column="geo")
    raise kind("wrong")


def killed(needs, *, number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    time.sleep(60)


def process(needs):
    return Output(
        facts={"pid": os.getpid(), "parent": os.getppid(), "threads": os.environ.get("OMP_NUM_THREADS")}
    )


def tree(leaves=8, seconds=0.0, rows=50):
    """Items of a tree: leaves, pairs of them, all."""
    items = [Item("all", {}, summed, tuple(f"pair {k}" for k in range(leaves // 2)), 2.0)]
    for k in range(leaves // 2):
        job = partial(summed, seconds=seconds)
        items.append(Item(f"pair {k}", {"k": k}, job, (f"leaf {2 * k}", f"leaf {2 * k + 1}")))
    for k in range(leaves):
        job = partial(numbers, seed=k, seconds=seconds, rows=rows)
        items.append(Item(f"leaf {k}", {"seed": k, "rows": rows}, job))
    return items


class Odd(Exception):
    """An error that no pickle holds."""

    def __init__(self, text):
        super().__init__(text)
        self.made = lambda: text


def odd(needs):
    raise Odd("1 and 2")


def stuck(needs):
    """Tell who it is, then keep Python's lock for a minute."""
    Path(os.environ["STUCK"]).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)
