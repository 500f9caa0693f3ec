"""Responses of one design, and what their fits give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector

ROUNDING = 1e-12
# Fits with a singular value below this are singular, as in `Fit`.
SINGULAR = 1e-4
# Random effects this many times as large as the noise of their level's mean cost batched blocks
# of several levels, which are differences, digits of the degrees of freedom; single fits keep them.
LARGE = 1000.0


@dataclass(frozen=True, eq=False)
class Replicates:
    """Fits of one design to many responses.

    Attributes
    ----------
    theta : (r, m) array
        Covariance parameters, lme4's scale.
    sigma : (r,) array
        Residual standard deviations.
    beta, std_error : (r, p) arrays
        Fixed effects and their standard errors.
    df : (r, p) array
        Satterthwaite's degrees of freedom of the fixed effects; empty where not asked for.
    criterion : (r,) array
        Criterion at the optimum.
    converged, singular : (r,) bool arrays
        Verdicts.
    """

    theta: Matrix
    sigma: Vector
    beta: Matrix
    std_error: Matrix
    df: Matrix
    criterion: Vector
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]

    @classmethod
    def unknown(cls, r: int, m: int, p: int, n_df: int) -> Replicates:
        """Nothing about r responses: none has converged."""
        theta, sigma, beta, df = (np.full(s, np.nan) for s in ((r, m), r, (r, p), (r, n_df)))
        none = np.zeros(r, dtype=np.bool_)
        return cls(theta, sigma, beta, beta, df, sigma, none, none)

    @classmethod
    def concatenate(cls, parts: Sequence[Replicates]) -> Replicates:
        """Put batches together."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )

    def updated(self, chosen: IntVector, others: Replicates) -> Replicates:
        """These fits, with others in chosen places."""
        values = {}
        for name in self.__dataclass_fields__:
            column = getattr(self, name).copy()
            column[chosen] = getattr(others, name)
            values[name] = column
        return Replicates(**values)

    def __len__(self) -> int:
        return len(self.sigma)


@dataclass(frozen=True, eq=False)
class Responses:
    """Sufficient statistics of r responses.

    Attributes
    ----------
    W : tuple of (r, d, K t, K t) arrays
        (3) per stratum.
    within : (r, t, t) array
        Cross-products of what least squares on the random-effects columns leaves of [X y].
    beta0 : (r, p) array
        Least-squares coefficients.
    scale : (r,) array
        Units of the responses.
    """

    W: tuple[Matrix, ...]
    within: Matrix
    beta0: Matrix
    scale: Vector

    def __getitem__(self, chosen: NDArray[np.bool_] | IntVector) -> Responses:
        return Responses(
            tuple(W[chosen] for W in self.W),
            self.within[chosen],
            self.beta0[chosen],
            self.scale[chosen],
        )

    def __len__(self) -> int:
        return len(self.scale)
