"""From formula and data to the model matrices."""

from lmm.design.arrays import table_of_arrays
from lmm.design.build import build_matrices
from lmm.design.checks import DEFAULT_CONTROL, GlmerControl, LmerControl
from lmm.design.fixed import FixedEffects
from lmm.design.frame import Frame
from lmm.design.matrices import ModelMatrices, ReTerm

__all__ = [
    "DEFAULT_CONTROL",
    "FixedEffects",
    "Frame",
    "GlmerControl",
    "LmerControl",
    "ModelMatrices",
    "ReTerm",
    "build_matrices",
    "table_of_arrays",
]
