"""Fitted models: labels and thin methods over a `Fit`, by topic."""

from lmm.model.generalized import GeneralizedMixedModel
from lmm.model.linear import LinearMixedModel

__all__ = ["GeneralizedMixedModel", "LinearMixedModel"]
