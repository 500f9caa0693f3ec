"""The Laplace approximation of generalized models: modes, criterion, derivatives."""

from lmm.laplace.criterion import LaplaceCriterion
from lmm.laplace.expansion import Expansion, LaplaceEvaluation

__all__ = ["Expansion", "LaplaceCriterion", "LaplaceEvaluation"]
