"""Penalized least squares: standardized problems, ways to solve them, and the choice of one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lmm.pls.base import (
    PLS,
    Derivatives,
    Factors,
    Forms,
    FullDerivatives,
    Inverse,
    PLSPoint,
    PLSSolution,
    PLSTerms,
    Sampled,
    SampledPoint,
    Solver,
    stacked,
)
from lmm.pls.blocks import BlockPLS
from lmm.pls.choose import SOLVERS, Auto, Block, Dense, Krylov, Sparse, exact, named
from lmm.pls.problem import Problem
from lmm.pls.summed import standardize

if TYPE_CHECKING:
    from lmm.pls.dense import DensePLS
    from lmm.pls.krylov.iteration import KrylovPLS
else:
    # Most models need one of these or none: they are loaded when first used.
    _LATER = {
        "DensePLS": "lmm.pls.dense",
        "KrylovPLS": "lmm.pls.krylov.iteration",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_LATER[name]), name)
        return value


__all__ = [
    "PLS",
    "SOLVERS",
    "Auto",
    "Block",
    "BlockPLS",
    "Dense",
    "DensePLS",
    "Derivatives",
    "Factors",
    "Forms",
    "FullDerivatives",
    "Inverse",
    "Krylov",
    "KrylovPLS",
    "PLSPoint",
    "PLSSolution",
    "PLSTerms",
    "Problem",
    "Sampled",
    "SampledPoint",
    "Solver",
    "Sparse",
    "exact",
    "named",
    "stacked",
    "standardize",
]
