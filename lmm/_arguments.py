"""What arguments of R's and statsmodels' fitting functions are here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from lmm.errors import nearest

P = ParamSpec("P")
T = TypeVar("T")

_MAXIMUM_LIKELIHOOD = "Generalized models are fitted by maximum likelihood: leave it out."
_OWN_START = "The fit finds its own start; start= takes theta and coefficients."
_EXACT = "The likelihood of linear models needs no quadrature: leave it out."
_RANDOM = "Random effects are terms of the formula, as in y ~ x + (x | g)."
_LINK = "The link belongs to the family: family=lmm.Binomial('probit')."
_EXPOSURE = "Write offset=, the logarithm of the exposure."

ARGUMENTS: dict[str, dict[str, str]] = {
    "lmer": {
        "REML": "Write reml=.",
        "method": "Write reml=True, or reml=False for maximum likelihood.",
        "family": "Write lmm.glmer(formula, data, family).",
        "nagq": _EXACT,
        "nAGQ": _EXACT,
        "random": _RANDOM,
        "groups": _RANDOM,
        "re_formula": _RANDOM,
        "vc_formula": _RANDOM,
        "correlation": "Structures are terms of the formula, as in ar1(0 + visit | g).",
        "devFunOnly": "Write lmm.ProfiledCriterion(lmm.build_matrices(formula, data)).",
    },
    "glmer": {
        "nAGQ": "Write nagq=.",
        "REML": _MAXIMUM_LIKELIHOOD,
        "reml": _MAXIMUM_LIKELIHOOD,
        "method": _MAXIMUM_LIKELIHOOD,
        "mustart": _OWN_START,
        "etastart": _OWN_START,
        "random": _RANDOM,
        "groups": _RANDOM,
        "link": _LINK,
        "theta": "Write lmm.glmer_nb(formula, data, theta=...).",
        "exposure": _EXPOSURE,
        "devFunOnly": "Write lmm.LaplaceCriterion(lmm.build_matrices(formula, data), family).",
    },
    "lm": {"family": "Write lmm.glm(formula, data, family)."},
    "glm": {
        "mustart": "The fit finds its own start: leave it out.",
        "etastart": "The fit finds its own start: leave it out.",
        "start": "The fit finds its own start: leave it out.",
        "link": _LINK,
        "exposure": _EXPOSURE,
    },
}
"""What to write instead, by function and argument."""


def knows_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function say what is meant by an argument that it does not have."""
    known, meant = tuple(signature(function).parameters), ARGUMENTS[function.__name__]

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known:
                told = f" {meant[name]}" if name in meant else nearest(name, known)
                raise TypeError(f"{function.__name__}() has no argument {name!r}.{told}")
        return function(*args, **kwargs)

    return run
