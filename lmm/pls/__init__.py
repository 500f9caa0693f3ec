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
from lmm.pls.choose import SOLVERS, Auto, Block, Dense, Krylov, Sparse, exact, named
from lmm.pls.grouped import GroupedPLS
from lmm.pls.problem import Problem
from lmm.pls.summed import standardize

if TYPE_CHECKING:
    from lmm.pls.crossed import CrossedPLS
    from lmm.pls.dense import DensePLS
    from lmm.pls.krylov.iteration import KrylovPLS
    from lmm.pls.nested import NestedPLS
    from lmm.pls.small import SmallPLS
    from lmm.pls.sparse.cholesky import SparsePLS
else:
    # Most models need one of these or none: they are loaded when first used.
    _LATER = {
        "CrossedPLS": "lmm.pls.crossed",
        "DensePLS": "lmm.pls.dense",
        "KrylovPLS": "lmm.pls.krylov.iteration",
        "NestedPLS": "lmm.pls.nested",
        "SmallPLS": "lmm.pls.small",
        "SparsePLS": "lmm.pls.sparse.cholesky",
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
    "CrossedPLS",
    "Dense",
    "DensePLS",
    "Derivatives",
    "Factors",
    "Forms",
    "FullDerivatives",
    "GroupedPLS",
    "Inverse",
    "Krylov",
    "KrylovPLS",
    "NestedPLS",
    "PLSPoint",
    "PLSSolution",
    "PLSTerms",
    "Problem",
    "Sampled",
    "SampledPoint",
    "SmallPLS",
    "Solver",
    "Sparse",
    "SparsePLS",
    "exact",
    "named",
    "stacked",
    "standardize",
]
