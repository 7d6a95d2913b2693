"""Calls that do not fit, answered in a sentence: what other packages call it, and what it is called here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sae.errors import SaeSpecError, SaeTypeError, name_some

__all__ = ["Answering", "NoTable", "answered", "elsewhere", "meant"]

P = ParamSpec("P")
T = TypeVar("T")

_OURS = {  # options of emdi, sae, hbsae, survey, statsmodels and pandas that have another name here
    "formula": ("fixed", "y", "model"),
    "domain": ("domains", "area", "domain_col", "subdomain", "index", "smp_domains", "groups"),
    "vardir": ("varcol", "variance", "var", "psi", "sampling_variance"),
    "n_eff": ("eff_smpsize", "effective_n", "neff"),
    "transform": ("transformation", "trafo"),
    "back": ("backtransformation", "backtransform"),
    "mse": ("mse_type", "MSE", "mse_method"),
    "replicates": ("B", "n_boot", "nboot", "n_bootstrap", "repweights", "replicate_weights"),
    "level": ("conf_level", "ci_level", "confidence"),
    "weights": ("weight", "wgt", "w", "sampling_weights", "weights_col"),
    "strata": ("stratum", "stratification"),
    "psu": ("ids", "id", "clusters", "cluster", "ssu"),
    "by": ("domain", "domains", "groupby", "area"),
    "indicator": ("y", "variable", "outcome", "formula"),
    "survey": ("data", "design", "sample"),
    "variance": ("var", "method", "vartype", "variance_method"),
    "lonely_psu": ("lonely", "singleton", "singletons"),
    "data": ("direct", "frame", "df", "combined_data", "X"),
    "areas": ("pop_data", "population", "auxiliary", "newdata", "exog"),
    "path": ("file", "filename", "path_or_buf"),
}
_ADVICE = {
    **dict.fromkeys(
        ("data", "combined_data", "smp_data", "pop_data", "areas"),
        'A specification holds no data. Give them to fit: sae.FayHerriot("y ~ x").fit(data, areas=areas).',
    ),
    "seed": "The seed belongs to the fit: .fit(data, seed=1).",
    "robust": 'Robust fits are sae.RobustFayHerriot("y ~ x").',
    **dict.fromkeys(
        ("correlation", "corMatrix", "proxmat", "neighbours"),
        "Areas that neighbours share are spatial=sae.SAR(neighbours), with sae.auxiliary.neighbours(map).",
    ),
    "family": "Counts and shares have models of their own: sae.BinomialMixed, PoissonMixed, BetaFayHerriot.",
    **dict.fromkeys(
        ("random", "re_formula", "re"),
        "The area effect is always there; domain= names the column of the areas.",
    ),
    "benchmark": "A fit is benchmarked afterwards: fit.benchmark(targets, weights=...).",
    "alpha": "alpha=0.05 is level=0.95 here.",
    "interval": "The search for the model variance needs no bracket.",
    **dict.fromkeys(
        ("weights", "weight", "strata", "psu", "clusters", "ids"),
        'The design belongs to the survey: sae.Survey.from_frame(frame, weights="weight", psu=...).',
    ),
    "Ci": "Covariates with sampling error are sae.MeasurementErrorFayHerriot.",
    **dict.fromkeys(
        ("index", "header", "sep", "engine"), "The table is written without an index, as it stands."
    ),
}
_FUNCTIONS = {  # of other packages, and names that stand in a room
    **dict.fromkeys(
        ("fh", "FH", "eblupFH", "mseFH", "fSAE", "fSAE_Area", "area_level_model"),
        'sae.FayHerriot("y ~ x", domain="area").fit(data, areas=areas)',
    ),
    **dict.fromkeys(
        ("eblupBHF", "pbmseBHF", "fSAE_Unit", "BHF"),
        'sae.NestedError("y ~ x", domain="area").fit(units, areas=means)',
    ),
    **dict.fromkeys(
        ("eblupSFH", "mseSFH", "pbmseSFH", "npbmseSFH"),
        'sae.FayHerriot("y ~ x", spatial=sae.SAR(neighbours)).fit(data)',
    ),
    **dict.fromkeys(
        ("eblupSTFH", "pbmseSTFH"), 'sae.FayHerriot("y ~ x", spatial=..., temporal=sae.AR1("year"))'
    ),
    **dict.fromkeys(
        ("svydesign", "as_survey", "as_survey_design", "svrepdesign", "from_frame"),
        'sae.Survey.from_frame(frame, weights="weight", strata=..., psu=...)',
    ),
    **dict.fromkeys(("svyby", "svymean", "svytotal"), 'sae.direct(survey, "indicator", by="region")'),
    **dict.fromkeys(
        ("read_csv", "read", "read_sas", "read_stata", "read_spss"), 'sae.read_survey(path, weights="weight")'
    ),
    **dict.fromkeys(("benchmark", "bench"), "fit.benchmark(targets, weights=...)"),
    **dict.fromkeys(("assess", "flag"), "fit.flag(policy), or sae.quality.assess(table, policy)"),
    **dict.fromkeys(("allocate", "optimal_allocation"), "sae.planning.allocate(...)"),
    **dict.fromkeys(("map_plot", "area_map"), "fit.plot.map(geometry)"),
    "compare_plot": "fit.plot.compare()",
}
_VERBS = {  # of the fits of other packages
    **dict.fromkeys(("params", "coef", "fixef", "fe_params"), 'fit.coefficients["coef"]'),
    **dict.fromkeys(("bse", "bse_fe"), 'fit.coefficients["se"]'),
    "tvalues": 'fit.coefficients["z"]',
    "pvalues": 'fit.coefficients["p"]',
    **dict.fromkeys(("aic", "bic", "llf", "loglik", "logLik", "AIC", "BIC"), "a column of fit.glance()"),
    **dict.fromkeys(("resid", "resid_pearson"), 'fit.residuals["residual"]'),
    **dict.fromkeys(("fittedvalues", "fitted"), 'fit.residuals["fitted"], with the covariates alone'),
    "ranef": "fit.random_effects",
    **dict.fromkeys(("vcov", "cov"), "fit.cov_params()"),
    **dict.fromkeys(("confint",), "fit.conf_int()"),
    **dict.fromkeys(("augment", "estimators", "eblup", "EST", "ind"), "fit.estimates"),
    **dict.fromkeys(("mse", "MSE", "RMSE", "RRMSE", "cv"), 'fit.estimates["mse"], with se and cv beside it'),
    **dict.fromkeys(("refvar", "sigma2_u", "varcomp", "scale"), "fit.variance_components"),
    **dict.fromkeys(
        ("write", "to_csv", "to_parquet", "to_excel", "write_excel"), "fit.estimates.write(path)"
    ),
    **dict.fromkeys(("head", "loc", "iloc", "columns", "shape"), "that of its table, fit.estimates"),
    **dict.fromkeys(("compare_plot", "map_plot"), "fit.plot.compare() or fit.plot.map(geometry)"),
    **dict.fromkeys(("bench", "calibrate"), "fit.benchmark(targets, weights=...)"),
    **dict.fromkeys(("aggr",), "fit.aggregate(by, weights=...)"),
    **dict.fromkeys(("get_prediction", "forecast"), "fit.predict(areas)"),
}
_VALUES: Mapping[str, Mapping[str, str]] = {  # what other packages call a value: ours, or a sentence
    "method": {
        "amrl_yl": "yl-reml",
        "ampl_yl": "yl-ml",
        "amrl": "ll-reml",
        "ampl": "ll-ml",
        **dict.fromkeys(("hb", "mcmc", "hybrid", "nuts", "gibbs"), "bayes"),
        **dict.fromkeys(("eblup", "blup", "default"), "reml"),
        "moment": "fh",
        "me": "Covariates with sampling error are sae.MeasurementErrorFayHerriot here.",
        "reblup": "Robust predictions are sae.RobustFayHerriot(formula) here.",
        "reblupbc": 'Robust predictions are sae.RobustFayHerriot(formula, predictor="reblupbc") here.',
    },
    "transform": {
        **dict.fromkeys(("arcsine", "asin", "arcsin-sqrt", "arcsin_sqrt", "asin_sqrt"), "arcsin"),
        **dict.fromkeys(("log-odds", "logodds"), "logit"),
        **dict.fromkeys(("no", "none", "identity"), "The scale of the data is transform=None here."),
        **dict.fromkeys(
            ("box.cox", "dual", "log.shift", "ordernorm"),
            "Transformations with a parameter of units do not exist for area-level models.",
        ),
    },
    "back": {**dict.fromkeys(("bc", "bc_sm"), "unbiased"), "bc_crude": "crude"},
    "mse": {
        **dict.fromkeys(("boot", "parametric", "parboot", "spatialparboot"), "bootstrap"),
        "spatialparbootbc": "bootstrap-corrected",
        "spatialnonparboot": "nonparametric",
        "spatialnonparbootbc": "nonparametric-corrected",
        "weighted_jackknife": "weighted-jackknife",
        "pseudolin": "pseudo",
        **dict.fromkeys(("true", "false"), "Every fit gives mean squared errors; mse= says how."),
    },
    "variance": {
        **dict.fromkeys(("taylor", "tsl", "linearized", "linearization", "linear"), "linearised"),
        **dict.fromkeys(
            ("jackknife", "jk1", "jkn", "jk2", "brr", "fay"),
            'Replicate weights belong to the survey: survey.with_replicates("jkn"); variance="replicate".',
        ),
        "ht": "poisson",
    },
}


def meant(option: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return what a value that is not allowed is here: " is method='yl-reml' here.", or a guess.

    Examples
    --------
    >>> from sae.calls import meant
    >>> meant("method", "amrl_yl", ("reml", "yl-reml"))
    "is method='yl-reml' here."
    >>> meant("method", "rmel", ("reml", "yl-reml"))
    "does not exist; did you mean 'reml'?"
    """
    text = str(value).lower()
    ours = _VALUES.get(option, {}).get(text, text)
    if ours in allowed:
        return f"is {option}={ours!r} here."
    if ours != text and ours.endswith("."):
        return f"does not exist. {ours}"
    near = get_close_matches(text, allowed, n=1)
    return f"does not exist; did you mean {near[0]!r}?" if near else "does not exist."


def elsewhere(name: str, known: Sequence[str], of: str = "sae") -> str:
    """Return what a name that `sae`, or a result, does not have is here, or may have been.

    Examples
    --------
    >>> from sae.calls import elsewhere
    >>> elsewhere("eblupFH", ["FayHerriot"])
    'it is sae.FayHerriot("y ~ x", domain="area").fit(data, areas=areas) here'
    >>> elsewhere("FayHeriot", ["FayHerriot"])
    'did you mean FayHerriot?'
    """
    names = _FUNCTIONS if of == "sae" else _VERBS
    if name in names:
        return f"it is {names[name]} here"
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"


def answered(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function answer arguments that it does not take with a `SaeSpecError` that says what to write.

    Examples
    --------
    >>> from sae.calls import answered
    >>> @answered
    ... def fit(data, *, areas=None): ...
    >>> fit(1, newdata=2)
    Traceback (most recent call last):
    ...
    sae.errors.SaeSpecError: fit() has no option newdata.
    newdata is areas= here.
    """

    @wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        try:
            return function(*args, **options)
        except TypeError as error:
            if _inside(error):
                raise
            raise _misfit(function.__name__, function, args, options) from None

    return call


class Answering(type):
    """Class whose constructor answers arguments that it does not take, as `answered` does.

    ``_instead`` of the class says how its objects are made, where the constructor is not the way.
    """

    if not TYPE_CHECKING:  # type checkers read the constructor itself

        def __call__(cls, *args, **options):  # noqa: D102
            try:
                return super().__call__(*args, **options)
            except TypeError as error:
                if _inside(error):
                    raise
                instead = getattr(cls, "_instead", "")
                raise _misfit(cls.__name__, cls.__init__, (cls, *args), options, instead) from None


class NoTable:
    """What holds tables and is none: `thing["name"]`, iteration and `in` are answered with where they are.

    ``_place(name)`` says in a sentence where a column, or with None the rows, are.
    """

    if not TYPE_CHECKING:  # type checkers refuse these calls by themselves

        def __getitem__(self, name):
            raise SaeTypeError(f"A {type(self).__name__} is no table.", hint=self._place(name))

        def __iter__(self):
            raise SaeTypeError(f"A {type(self).__name__} is no table.", hint=self._place(None))

        def __contains__(self, name):
            raise SaeTypeError(f"A {type(self).__name__} is no table.", hint=self._place(name))


def _inside(error: TypeError) -> bool:
    """Whether the error was raised by the function, and not by the call of it."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None


def _misfit(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
    instead: str = "",
) -> SaeSpecError:
    """Return the error of a call with arguments that the function does not take."""
    from inspect import Parameter, signature

    parameters = signature(function).parameters
    known = [each for each in parameters if each not in ("self", "cls")]
    plain = [each for each in known if parameters[each].kind is Parameter.POSITIONAL_OR_KEYWORD]
    given = args[len(parameters) - len(known) :]
    unknown = [each for each in options if each not in known]
    twice = [each for each in plain[: len(given)] if each in options]
    if unknown:
        hints = dict.fromkeys(_hint(each, known) for each in unknown[:3])
        what, hint = f"{name}() has no option {name_some(unknown)}.", " ".join(hints)
    elif len(given) > len(plain):
        rest = [f"{each}=" for each in known if each not in plain]
        what = f"{name}() takes {name_some(plain)} without a name, and {len(given)} values were given."
        hint = f"Name the others: {name_some(rest, 8)}." if rest else ""
    elif twice:
        what, hint = f"{name}() was given {name_some(twice)} twice.", f"It takes {name_some(known, 8)}."
    else:
        named = [each for each in known if each not in plain[: len(given)] and each not in options]
        free = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        needed = [each for each in named if parameters[each].kind not in free]
        absent = [each for each in needed if parameters[each].default is Parameter.empty]
        what, hint = f"{name}() needs {name_some(absent)}.", f"It takes {name_some(known, 8)}."
    return SaeSpecError(what, hint=instead or hint)


def _hint(option: str, known: list[str]) -> str:
    """Say what an unknown option is here."""
    for ours, names in _OURS.items():
        if option in names and ours in known:
            return f"{option} is {ours}= here."
    if option in _ADVICE:
        return _ADVICE[option]
    near = get_close_matches(option.lower(), known, n=1)
    return f"Did you mean {near[0]}=?" if near else f"It takes {name_some(known, 20)}."
