"""What models without random effects have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.design import ModelMatrices
from lmm.design.table import Table
from lmm.formula import Formula

__all__ = ["WithoutEffects"]


class WithoutEffects(ABC):
    """A model of fixed effects alone, as `anova` compares it with others.

    Attributes
    ----------
    matrices : ModelMatrices
        Its design and response, without random terms.
    table : Table
        The data.
    beta : (p,) array
        Coefficients.
    """

    matrices: ModelMatrices
    table: Table
    beta: Vector

    @property
    def formula(self) -> Formula:
        """The parsed formula."""
        return self.matrices.formula

    @property
    def data_name(self) -> str | None:
        """Name of the data, where they have one."""
        return self.table.label

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Number of estimated parameters."""

    @abstractmethod
    def loglik(self) -> float:
        """Log-likelihood at its maximum."""

    def aic(self) -> float:
        """Akaike's criterion."""
        return -2.0 * self.loglik() + 2.0 * self.n_parameters

    def bic(self) -> float:
        """Schwarz's criterion."""
        return -2.0 * self.loglik() + float(np.log(self.nobs)) * self.n_parameters

    @property
    def nobs(self) -> int:
        """Number of observations used."""
        return self.matrices.n

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom, n - p."""
        return self.nobs - len(self.beta)

    def fixef(self) -> pd.Series[float]:
        """Coefficients by name."""
        return pd.Series(self.beta, index=pd.Index(self.matrices.fixed.names), copy=True)
