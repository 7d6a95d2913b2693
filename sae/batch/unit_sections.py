"""What the tables of a model file must not contradict where its model is one of units."""

from __future__ import annotations

from sae.batch.sections import Contents
from sae.errors import SaeSpecError, name_some

__all__ = ["check_units"]


def check_units(contents: Contents, file: str) -> None:
    """Refuse what has no meaning for a model of units, and ``[population]`` where there is none.

    Raises
    ------
    SaeSpecError
        Naming the file, the table and the key.
    """
    from sae.batch.kinds import UNIT_KINDS  # loads the libraries

    model, estimate, benchmark = contents.model, contents.estimate, contents.benchmark
    if model is None or model.kind not in UNIT_KINDS:
        if contents.population is not None:
            kinds = ", ".join(f'"{kind}"' for kind in UNIT_KINDS)
            raise SaeSpecError(
                f"{file}: [population] is for models of units, but the file has none.",
                hint=f"These are [model] kind = {kinds}. Covariates of areas come with --areas.",
            )
        return
    where = f'{file}: [model] kind = "{model.kind}" is a model of units'
    if contents.direct is not None:
        raise SaeSpecError(f"{where}, but [direct] starts from estimates.", hint="It needs [survey].")
    senseless = {
        "time": "write the one period into [estimate] universe",
        "smoothing": "it smooths variances of direct estimates, which such a model does not use",
    }
    for key, why in senseless.items():
        if getattr(estimate, key) is not None:
            raise SaeSpecError(f"{where}: [estimate] {key} has no meaning.", hint=f"Leave it out: {why}.")
    if len(estimate.by) != 1:
        named = name_some(estimate.by) if estimate.by else "nothing"
        raise SaeSpecError(
            f"{where}: [estimate] by names {named}.",
            hint="Name one column, of the areas; [model] groups and levels name others where the kind has "
            "them.",
        )
    again = [name for name in ("groups", "levels") if model.options.get(name)]
    if benchmark is not None and model.kind == "ebp" and again:
        raise SaeSpecError(
            f"{where} with {again[0]}, and [benchmark] would move some of its rows and not those that count "
            "the same persons again.",
            hint=f"Leave [benchmark] out, or {again[0]}.",
        )
    figures = model.options.get("indicators", [] if model.kind == "ebp" else "mean")
    if benchmark is not None and figures not in ("mean", ["mean"]):
        raise SaeSpecError(
            f"{where} with several figures, and [benchmark] adjusts one.",
            hint='Leave [benchmark] out, or write [model] indicators = "mean".',
        )
