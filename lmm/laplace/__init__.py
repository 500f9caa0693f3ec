"""The Laplace approximation of generalized models: modes, criterion, derivatives."""

from lmm.laplace.criterion import LaplaceCriterion

__all__ = ["LaplaceCriterion"]
