"""Methods for the degrees of freedom of tests of fixed effects, by name.

`ddf_method` makes one, once for many contrasts; `ddf` and `vcov_beta` answer single questions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import Matrix, Vector
from lmm.design.labels import rows_by_name
from lmm.errors import DataError, nearest
from lmm.fixed_fit import FixedFit
from lmm.inference.fixed.base import DdfMethod, FTest, orthogonal_rows
from lmm.inference.fixed.kenward_roger import KenwardRoger
from lmm.inference.fixed.satterthwaite import Satterthwaite
from lmm.plain_fit import PlainFit


@dataclass(frozen=True, eq=False)
class Asymptotic:
    """Normal and chi-squared tests: infinite degrees of freedom.

    Attributes
    ----------
    fit : FixedFit
        The fit.
    """

    fit: FixedFit

    name = "asymptotic"

    @property
    def vcov(self) -> Matrix:
        """Covariance of beta, (p, p)."""
        return self.fit.vcov

    def df(self, L: Matrix) -> Vector:
        """Infinity for each row of L (r, p)."""
        return np.full(len(L), np.inf)

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> FTest:
        """Joint test of ``L beta = rhs``, L (q, p)."""
        _, residual, variances = orthogonal_rows(self.fit, L, rhs)
        return FTest(float(np.mean(residual**2 / variances)), len(variances), self.df(L[:1])[0])


@dataclass(frozen=True, eq=False)
class ResidualDegrees(Asymptotic):
    """t and F tests of least squares: those of the residuals, exact for normal responses."""

    fit: PlainFit

    name = "residual"

    def df(self, L: Matrix) -> Vector:
        """Degrees of freedom of the residuals for each row of L (r, p)."""
        return np.full(len(L), self.fit.test_df)


METHODS: dict[str, Callable[[Any], DdfMethod]] = {
    "satterthwaite": Satterthwaite.of,
    "kenward-roger": KenwardRoger.of,
    "asymptotic": Asymptotic,
}


def ddf_method(fit: FixedFit, name: str | None = None, linear: str = "satterthwaite") -> DdfMethod:
    """Prepare a method for a fit.

    Without random effects the two methods of linear models are one: their degrees of freedom are
    those of the residuals.

    Parameters
    ----------
    fit : Fit or PlainFit
        The fit.
    name : {"satterthwaite", "kenward-roger", "asymptotic"}, optional
        Capitals do not matter. By default `linear` for linear models, ``"asymptotic"`` for
        generalized ones, which have no other, and where sigma is known.
    linear : str
        The default of linear models.

    Raises
    ------
    ValueError
        Another name; or degrees of freedom of a generalized model.

    Warns
    -----
    RefitWarning
        Kenward-Roger for a maximum likelihood fit, which is refitted by REML.
    """
    is_linear = fit.family.is_gaussian_identity
    if name is None and isinstance(fit, PlainFit):
        return ResidualDegrees(fit) if np.isfinite(fit.test_df) else Asymptotic(fit)
    if name is None:
        name = linear if is_linear and fit.known_sigma is None else "asymptotic"
    method = METHODS.get(str(name).lower())
    if method is None:
        raise ValueError(f"unknown ddf method {name!r}.{nearest(str(name).lower(), METHODS)}")
    if method is not Asymptotic and not is_linear:
        raise ValueError(
            f"ddf={name!r}: degrees of freedom exist for linear models only. Generalized models "
            "are tested by ddf='asymptotic', their default."
        )
    if isinstance(fit, PlainFit) and method is not Asymptotic:
        return ResidualDegrees(fit)
    return method(fit)


def check_contrasts(fit: FixedFit, L: ArrayLike) -> Matrix:
    """L as a (q, p) array; coefficients of a Series, mapping or DataFrame by their names.

    Raises
    ------
    DataError
        It does not have p columns, or holds values that are no finite numbers.
    """
    names = fit.matrices.fixed.names
    try:
        rows = np.atleast_2d(np.asarray(rows_by_name(L, names, "L"), dtype=float))
    except (TypeError, ValueError) as error:
        raise DataError(f"contrasts must be numbers, one for each coefficient: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise DataError(
            f"contrasts have shape {np.shape(L)}, but the model has {len(names)} coefficients: "
            f"give one number for each of {', '.join(names[:12])}"
            f"{', ...' if len(names) > 12 else ''}"
        )
    if not np.isfinite(rows).all():
        raise DataError("contrasts hold values that are missing or infinite")
    return rows
