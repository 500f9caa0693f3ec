"""Estimated marginal means: reference grid, linear functions, contrasts, adjustments."""

from lmm.inference.marginal.adjustments import (
    ADJUSTMENTS,
    SimultaneousTests,
    adjusted_p_values,
    adjustment_for,
    check_adjustment,
    critical_values,
    crossed_p_values,
)
from lmm.inference.marginal.combinations import WEIGHTS, Combinations, checked
from lmm.inference.marginal.contrast_families import (
    FAMILIES,
    Coefficients,
    MeanContrasts,
    Place,
    contrasts_of,
)
from lmm.inference.marginal.estimator import Estimator, GivenCovariance
from lmm.inference.marginal.grid import (
    DETECT,
    KEPT_VALUES,
    Axis,
    Keep,
    Reduction,
    ReferenceGrid,
    reference_grid,
)
from lmm.inference.marginal.hypothesis import SIDES, Hypothesis
from lmm.inference.marginal.nesting import Nesting, nesting_text
from lmm.inference.marginal.scales import IDENTITY, Transformation, response_scale, scale_named

__all__ = [
    "ADJUSTMENTS",
    "DETECT",
    "FAMILIES",
    "IDENTITY",
    "KEPT_VALUES",
    "SIDES",
    "WEIGHTS",
    "Axis",
    "Coefficients",
    "Combinations",
    "Estimator",
    "GivenCovariance",
    "Hypothesis",
    "Keep",
    "MeanContrasts",
    "Nesting",
    "Place",
    "Reduction",
    "ReferenceGrid",
    "SimultaneousTests",
    "Transformation",
    "adjusted_p_values",
    "adjustment_for",
    "check_adjustment",
    "checked",
    "contrasts_of",
    "critical_values",
    "crossed_p_values",
    "nesting_text",
    "reference_grid",
    "response_scale",
    "scale_named",
]
