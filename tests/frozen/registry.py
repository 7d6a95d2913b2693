"""The register of frozen cases, and the seeded data that several of them share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

CASES: dict[str, "Case"] = {}


@dataclass(frozen=True)
class Case:
    """One named call of the public surface.

    ``slow``: it compiles and samples for longer than a test should. The rest says how far its numbers move
    on another machine. ``chain``: they come from a Markov chain, which takes another path from the first
    different bit on. ``points``: from weighted points, laid around a mode found by iteration. ``close``: by
    how much else, relative to the largest value of a column.
    """

    name: str
    run: Callable[[], Any]
    slow: bool = False
    chain: bool = False
    points: bool = False
    close: float = 1e-8


def case(**options: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a function under its own name; options as of `Case`."""

    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        add(function.__name__, function, **options)
        return function

    return register


def add(name: str, run: Callable[[], Any], **options: Any) -> None:
    """Register a call under a name."""
    if name in CASES:
        raise ValueError(f"two cases are called {name}")
    CASES[name] = Case(name, run, **options)


def areas(size: int = 56, seed: int = 3, unseen: int = 3) -> pd.DataFrame:
    """Areas with a line through their figures; the last ones, and one in between, are not in the sample."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=size), rng.uniform(size=size)
    frame = pd.DataFrame(
        {
            "area": [f"A{k:02d}" for k in range(size)],
            "x": x,
            "z": z,
            "group": np.where(np.arange(size) % 3 == 0, "north", "south"),
            "vardir": rng.uniform(0.2, 0.6, size),
            "n": rng.integers(12, 90, size),
            "population": rng.integers(400, 4000, size),
        }
    )
    frame["y"] = 5 + x - z + 0.7 * rng.normal(size=size) + np.sqrt(frame["vardir"]) * rng.normal(size=size)
    rate = 1 / (1 + np.exp(-(-1.0 + 0.4 * x + 0.3 * rng.normal(size=size))))
    count = rng.binomial(frame["n"], rate)
    frame["count"] = count.astype(float)
    frame["n_eff"] = frame["n"] / 1.4
    frame["rate"] = (count + 1) / (frame["n"] + 2)
    frame["rate_var"] = 1.4 * frame["rate"] * (1 - frame["rate"]) / frame["n"]
    frame["money"] = np.exp(0.3 * frame["y"])
    frame["money_var"] = (0.3 * frame["money"]) ** 2 * frame["vardir"]
    frame["s2"], frame["df"] = frame["vardir"] * rng.chisquare(9, size) / 9, 9
    if unseen:
        gone = [4, *range(size - unseen + 1, size)]
        frame.loc[gone, ["y", "count", "rate", "money"]] = np.nan
    return frame


def frame_and_map(size: int = 56, seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Areas on a grid eight wide, as an edge list; the last one is an island."""
    frame = areas(size, seed, unseen=3)
    pairs = [(k, k + 1) for k in range(size - 1) if k % 8 != 7] + [(k, k + 8) for k in range(size - 8)]
    names = frame["area"]
    edges = pd.DataFrame([(names[a], names[b]) for a, b in pairs if b != size - 1], columns=["a", "b"])
    return frame, edges


def panel(size: int = 16, periods: int = 4, seed: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Areas on a grid four wide over some years, with gaps and an unordered table."""
    rng = np.random.default_rng(seed)
    names = [f"A{k:02d}" for k in range(size)]
    pairs = [(k, k + 1) for k in range(size - 1) if k % 4 != 3] + [(k, k + 4) for k in range(size - 4)]
    edges = pd.DataFrame([(names[a], names[b]) for a, b in pairs if b != size - 1], columns=["a", "b"])
    x, level = rng.normal(size=size), 0.8 * rng.normal(size=size)
    walk = np.cumsum(0.5 * rng.normal(size=(size, periods)), axis=1)
    frame = pd.DataFrame(
        {
            "area": np.repeat(names, periods),
            "year": np.tile(np.arange(2020, 2020 + periods), size),
            "x": np.repeat(x, periods) + 0.2 * rng.normal(size=size * periods),
            "vardir": rng.uniform(0.2, 0.4, size * periods),
        }
    )
    truth = 1 + frame["x"] + (level[:, None] + walk).ravel()
    frame["y"] = truth + np.sqrt(frame["vardir"]) * rng.normal(size=len(frame))
    frame.loc[[2, 8, 17], "y"] = np.nan
    return frame.drop(index=[5, 21]).sample(frac=1.0, random_state=1), edges


@lru_cache
def country() -> Any:
    """A synthetic country of 30 regions."""
    import sae

    return sae.datasets.country(seed=1, regions=30)
