"""Covariates that stand at the mean that other predictors of the reference grid give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmm._types import Vector
from lmm.errors import DataError
from lmm.fitted import EstimatedModel
from lmm.formula import parse_two_sided
from lmm.inference.marginal.combinations import checked
from lmm.language.tree import Name, variables
from lmm.plain_fit import PlainFit, plain_fit
from lmm.request import LeastSquaresRequest


@dataclass(frozen=True, eq=False)
class RegressedCovariate:
    """A covariate's mean as a least-squares function of other predictors.

    Attributes
    ----------
    name : str
        The covariate.
    predictors : tuple of str
        The others.
    fit : PlainFit
        The regression.
    """

    name: str
    predictors: tuple[str, ...]
    fit: PlainFit

    @classmethod
    def of(cls, text: str, source: EstimatedModel, names: Sequence[str]) -> RegressedCovariate:
        """Regression ``"x ~ a"`` on the rows of a model, all of the same weight.

        Raises
        ------
        FormulaError
            The text is no formula.
        DataError
            A name is none of the model's predictors, or what is on the left is no covariate.
        """
        formula = parse_two_sided(text)
        if not isinstance(formula.lhs, Name):
            raise DataError(f"cov_reduce={text!r}: on the left of '~' stands a covariate's name")
        name = checked(formula.lhs.id, names)
        predictors = tuple(checked(one, names) for one in variables(formula.rhs))
        table = source.call.table
        if table is None:
            raise DataError(f"cov_reduce={text!r}: the rows of the data are not there")
        used = np.zeros(table.n, dtype=bool)
        used[source.fit.matrices.frame.rows] = True
        own = source.call.extra_namespace
        request = LeastSquaresRequest(formula, table, subset=used, extra_namespace=own)
        return cls(name, predictors, plain_fit(request))

    def means(self, data: Mapping[str, np.ndarray], size: int) -> Vector:
        """Means (r,) where the predictors have these values, r = `size` each."""
        fixed = self.fit.matrices.fixed
        wanted = fixed.layout.predictor.variables
        rows = fixed.layout.matrix(fixed.variables.on(data, wanted)[0] if wanted else {}, size)
        return np.asarray(rows[:, fixed.kept] @ self.fit.beta)
