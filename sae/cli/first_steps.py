"""`sae demo` and `sae warmup`: whether it works here, and that it works fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sae.cli.ending import DONE, PARTLY, REFUSED
from sae.cli.options import Debug
from sae.cli.printing import complain, progress

__all__ = ["demo", "warmup"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-results"),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic country.")] = 1,
    debug: Debug = False,
) -> int:
    """Make a synthetic country, survey it, estimate, and compare with the known truth."""
    from sae.batch.compiling import compiled_beside

    with progress() as step, compiled_beside() as wait:
        from sae.batch.demo import run_demo  # the compiler runs while the libraries load

        def told(what: str) -> None:
            step(what)
            if what == "model":
                wait()

        report = run_demo(out, seed=seed, step=told)
    print(report.text)
    return PARTLY if report.outcome.failed else DONE


def warmup(debug: Debug = False) -> int:
    """Compile all kernels now, in minutes: the first fit of each family is then as fast as the next."""
    from sae.batch.warmup import FAMILIES, caches, warm_up
    from sae.numerics.compile import NOTICE

    if not caches():
        complain("No folder for compiled kernels can be written: set NUMBA_CACHE_DIR to one that can.")
        return REFUSED
    NOTICE.silence()
    names = list(FAMILIES)
    warm_up(lambda family: print(f"{names.index(family) + 1}/{len(names)} {family}", flush=True))
    return DONE
