"""Covariance structures of random effects: `Gamma(par)`, and those a formula may name.

Three scales have three names. `par` are a structure's parameters; lme4's `theta` fills `lambda`,
a root of Gamma (for `us` and `diag` both are the same); the optimizer moves the parameters of
whitened effects (`lmm.criterion`); reports show standard deviations and correlations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from lmm.covariance.base import WIDE, Covariance, ReportedParameter
from lmm.covariance.correlated import CompoundSymmetry, Correlated, ScaledIdentity
from lmm.covariance.filled import Diagonal, Filled, Unstructured
from lmm.covariance.parameters import Parameters, parameters_of
from lmm.covariance.serial import AutoRegressive, OrnsteinUhlenbeck, Toeplitz

__all__ = [
    "STRUCTURES",
    "WIDE",
    "AutoRegressive",
    "CompoundSymmetry",
    "Correlated",
    "Covariance",
    "Diagonal",
    "Filled",
    "OrnsteinUhlenbeck",
    "Parameters",
    "ReportedParameter",
    "ScaledIdentity",
    "Structure",
    "Toeplitz",
    "Unstructured",
    "diagonal",
    "parameters_of",
    "unstructured",
]

# The same objects for all models: they remember their arrays of indices.
unstructured = cache(Unstructured)
diagonal = cache(Diagonal)


@dataclass(frozen=True)
class Structure:
    """A row of the table of structures.

    Attributes
    ----------
    make : callable
        ``make(size, hom, times)`` gives the covariance of that many columns.
    hom : bool, optional
        Whether columns share one variance unless a formula says otherwise; None if it may not say.
    of_levels : bool
        Whether the columns must be the levels of one factor, in their order.
    of_times : bool
        Whether the levels must be numbers.
    """

    make: Callable[[int, bool, tuple[float, ...]], Covariance]
    hom: bool | None
    of_levels: bool = False
    of_times: bool = False


STRUCTURES: dict[str, Structure] = {
    "us": Structure(lambda size, hom, times: unstructured(size), None),
    "diag": Structure(
        lambda size, hom, times: ScaledIdentity(size, hom=True) if hom else diagonal(size), False
    ),
    "cs": Structure(lambda size, hom, times: CompoundSymmetry(size, hom), False),
    "ar1": Structure(lambda size, hom, times: AutoRegressive(size, hom), True, of_levels=True),
    "toep": Structure(lambda size, hom, times: Toeplitz(size, hom), False, of_levels=True),
    "ou": Structure(OrnsteinUhlenbeck, True, of_levels=True, of_times=True),
}
"""Structures that a formula may name, as in ``cs(x | g)``."""
