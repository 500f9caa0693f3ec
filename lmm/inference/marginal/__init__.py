"""Estimated marginal means: reference grid, linear functions, contrasts, adjustments."""

from lmm.inference.marginal.adjustments import (
    ADJUSTMENTS,
    Family,
    adjusted_p_values,
    critical_values,
)
from lmm.inference.marginal.families import FAMILIES, Contrasts, contrasts_of
from lmm.inference.marginal.grid import WEIGHTS, Axis, ReferenceGrid, Source, reference_grid
from lmm.inference.marginal.linear import Estimator
from lmm.inference.marginal.response import IDENTITY, Transformation, response_scale

__all__ = [
    "ADJUSTMENTS",
    "FAMILIES",
    "IDENTITY",
    "WEIGHTS",
    "Axis",
    "Contrasts",
    "Estimator",
    "Family",
    "ReferenceGrid",
    "Source",
    "Transformation",
    "adjusted_p_values",
    "contrasts_of",
    "critical_values",
    "reference_grid",
    "response_scale",
]
