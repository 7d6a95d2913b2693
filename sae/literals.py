"""The words that options take: one alias per kind of option, which editors complete and `one_of` reads."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "PLAUSIBLE",
    "AreaMethod",
    "AreaMse",
    "Back",
    "BenchmarkMethod",
    "BiasMse",
    "CalibrationMethod",
    "CompositeMse",
    "DesignVariance",
    "EffectStructure",
    "IndirectVariance",
    "LikelihoodMethod",
    "Link",
    "LonelyPolicy",
    "MQuantileEstimator",
    "MarginVariance",
    "MomentMse",
    "ReplicateCentre",
    "ReplicateMethod",
    "RobustMse",
    "RobustPredictor",
    "Smoothing",
    "TimeUnit",
    "Transformation",
]

DesignVariance = Literal["linearised", "replicate", "bootstrap", "poisson"]
IndirectVariance = Literal["linearised", "replicate", "poisson"]
Smoothing = Literal["deff", "gvf", "arcsin"]
BiasMse = Literal["variance", "average", "area"]
MarginVariance = Literal["linearised", "replicate"]
CompositeMse = Literal["average", "area"]
LikelihoodMethod = Literal["reml", "ml", "bayes"]
AreaMethod = Literal["reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml", "bayes"]
Transformation = Literal["arcsin", "log", "logit"]
Link = Literal["log", "logit"]
TimeUnit = Literal["step", "year", "half-year", "quarter", "month", "week", "day"]
Back = Literal["unbiased", "naive", "crude"]
EffectStructure = Literal["diagonal", "common", "ar1", "har1", "unstructured"]
AreaMse = Literal[
    "auto",
    "analytical",
    "bootstrap",
    "bootstrap-corrected",
    "jackknife",
    "weighted-jackknife",
    "nonparametric",
    "nonparametric-corrected",
]
MomentMse = Literal["auto", "analytical", "bootstrap"]
MQuantileEstimator = Literal["bias_adjusted", "naive"]
RobustMse = Literal["pseudo", "bootstrap"]
RobustPredictor = Literal["reblup", "reblupbc"]
LonelyPolicy = Literal["fail", "certainty", "average", "collapse"]
CalibrationMethod = Literal["linear", "raking", "logit"]
ReplicateMethod = Literal["jk1", "jkn", "brr", "fay", "bootstrap"]
ReplicateCentre = Literal["estimate", "mean"]
PLAUSIBLE = (0.5, 2.0)  # factors that a benchmark may move an estimate by, unless it is told others
BenchmarkMethod = Literal["ratio", "difference", "mse", "optimal", "logit"]
