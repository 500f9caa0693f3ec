"""What is left of [X y] when all random effects are eliminated: the fixed effects and pwrss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lmm import _lapack
from lmm._types import Matrix, Vector, cached_property
from lmm.errors import NumericalError
from lmm.pls.base import PLS, PLSSolution, PLSTerms
from lmm.pls.groups import Group


@dataclass(frozen=True, eq=False)
class Border:
    """Lower Cholesky factor of ``[X y]'V^-1[X y]``.

    Its leading part is RX', its last pivot the root of pwrss.

    Attributes
    ----------
    L : (t, t) array
        The factor, t = p + 1.
    """

    L: Matrix

    @classmethod
    def of(cls, reduced: Matrix) -> Border:
        """Factor what is left (t, t).

        Raises
        ------
        NumericalError
            The fixed effects are not identified at this covariance.
        """
        try:
            return cls(_lapack.cholesky(reduced))
        except np.linalg.LinAlgError as error:
            raise NumericalError(
                "X'V^-1 X is not positive definite: the fixed effects are not identified."
            ) from error

    def terms(self, logdet: float) -> PLSTerms:
        """The three numbers, given log|Omega|."""
        diagonal = self.L.diagonal()
        logdet_RX = 2.0 * float(np.log(diagonal[:-1]).sum())
        return PLSTerms(logdet, logdet_RX, float(diagonal[-1]) ** 2)

    @cached_property
    def half(self) -> Matrix:
        """L^-1, (t, t)."""
        return _lapack.invert_lower(self.L)

    @property
    def beta(self) -> Vector:
        """Fixed effects (p,): the last row of L^-1 is ``(-beta', 1) / sqrt(pwrss)``."""
        return np.asarray(-self.half[-1, :-1] / self.half[-1, -1])

    @property
    def residual(self) -> Vector:
        """What turns [X y] into ``y - X beta``: (-beta, 1), (t,)."""
        return np.asarray(self.half[-1] / self.half[-1, -1])

    @property
    def fixed_root(self) -> Matrix:
        """RX^-1, (p, p)."""
        return np.asarray(self.half[:-1, :-1].T)


class Bordered:
    """A solver's point that has eliminated all random effects.

    Attributes
    ----------
    pls : PLS
        The problem.
    logdet : float
        log|Omega|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    """

    if TYPE_CHECKING:  # fields or properties

        @property
        def pls(self) -> PLS:
            """The problem."""

        @property
        def logdet(self) -> float:
            """Log determinant."""

        @property
        def reduced(self) -> Matrix:
            """What is left of [X y]'[X y]."""

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that was factored."""
        return self.pls.dense_size

    @cached_property
    def border(self) -> Border:
        """What is left of [X y]."""
        return Border.of(self.reduced)

    @cached_property
    def terms(self) -> PLSTerms:
        """The three numbers."""
        return self.border.terms(self.logdet)

    def coefficients(self, groups: Sequence[Group], by_group: Sequence[Matrix]) -> PLSSolution:
        """Fixed effects beside the random effects (1, k, l) of groups."""
        each = zip(groups, by_group, strict=True)
        by_term = {i: b[0, part].T for group, b in each for i, part in group.members}
        effects = tuple(by_term[i] for i in range(len(by_term)))
        return PLSSolution(self.terms, self.border.beta, effects, self.border.fixed_root)
