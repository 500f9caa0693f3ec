"""The fixed effects: what the columns of X are, which of them are independent, and new data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm._lapack import dependent, qr_factor
from lmm._types import IntVector, Matrix, Vector
from lmm.design.frame import Frame
from lmm.design.layout import Layout, coded
from lmm.design.variables import Variables
from lmm.errors import DataError


@dataclass(frozen=True, eq=False)
class FixedEffects:
    """What the columns of X are, and how to make them for new data.

    Attributes
    ----------
    layout : Layout
        All columns, before linearly dependent ones are dropped: terms, variables, the contrast
        matrix of each factor in each term.
    kept : (p,) int array
        Which of the layout's columns X has.
    variables : Variables
        Recipe of the variables.
    offsets : tuple of str
        The formula's offsets, as variables.

    Notes
    -----
    For tests of terms: column j of X belongs to term ``term_labels[assign[j] - 1]`` (to the
    intercept where ``assign[j]`` is 0); ``factors`` says which variables make up a term, so that
    one term is marginal to another if its variables are a subset; ``layout.codings[t][f].matrix``
    is the contrast matrix of factor f in term t.
    """

    layout: Layout
    kept: IntVector
    variables: Variables
    offsets: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the p columns of X."""
        return tuple(self.layout.names[j] for j in self.kept)

    @property
    def full_names(self) -> tuple[str, ...]:
        """Names of all columns, dropped ones too, in R's order."""
        return self.layout.names

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the dropped columns, in R's order."""
        kept = set(self.kept.tolist())
        return tuple(name for j, name in enumerate(self.layout.names) if j not in kept)

    @property
    def assign(self) -> IntVector:
        """Term of each column of X, (p,), counted from 1; 0 is the intercept."""
        return self.layout.assign[self.kept]

    @property
    def term_labels(self) -> tuple[str, ...]:
        """R's labels of the terms, without the intercept."""
        return self.layout.predictor.labels

    @property
    def term_variables(self) -> tuple[tuple[str, ...], ...]:
        """Variables of each term."""
        return self.layout.predictor.terms

    @property
    def term_factors(self) -> tuple[str, ...]:
        """Distinct variables of the terms: the rows of `factors`."""
        return self.layout.predictor.variables

    @property
    def has_intercept(self) -> bool:
        """Whether the model has an intercept."""
        return self.layout.predictor.has_intercept

    @property
    def factors(self) -> np.ndarray:
        """R's ``attr(terms, "factors")``, (variables, terms): see `Predictor.contrast_rule`."""
        return self.layout.factors

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels of each factor of the fixed part (R's ``xlevels``)."""
        return {
            variable: coding.levels
            for codings in self.layout.codings
            for variable, coding in codings.items()
        }

    def matrix(self, data: Any) -> Matrix:
        """X for new data, (n_new, p); rows with missing values are NaN.

        Raises
        ------
        DataError
            If a column is missing, a factor has an unknown level, or a covariate is not numeric.
        """
        columns, n = self.variables.on(data, self.layout.predictor.variables)
        return self.layout.matrix(columns, n)[:, self.kept]

    def offset(self, data: Any) -> Vector:
        """Sum of the formula's offsets on new data, (n_new,); zeros if it has none."""
        columns, n = self.variables.on(data, self.offsets)
        total = np.zeros(n)
        for text in self.offsets:
            total = total + coded(text, columns[text], None)[:, 0]
        return total


def independent_columns(X: Matrix, tol: float = 1e-7) -> IntVector:
    """Columns of X that R keeps: those not linearly dependent on earlier ones.

    Householder QR with LINPACK's limited pivoting: going from left to right, a column whose norm,
    after projection on the complement of the columns kept so far, falls below `tol` times its own
    norm is moved to the end (as R's ``qr``; Chambers, 1977, Computational Methods for Data
    Analysis, section 5.d, describes the decomposition).

    Parameters
    ----------
    X : (n, p) array
        Model matrix.
    tol : float
        Relative norm below which a column counts as dependent.

    Returns
    -------
    (r,) int array
        Positions of the kept columns, increasing.

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 0, 2, 1], [1, 1, 2, 0], [1, 2, 2, 5]]))
    array([0, 1, 3])
    """
    n, p = X.shape
    # Without dependence no column moves, and one LAPACK call shows it.
    if n >= p > 0 and not dependent(qr_factor(X), tol).any():
        return np.arange(p)
    kept: list[int] = []
    work = X.astype(np.float64, order="F")
    for j in range(p):
        rank = len(kept)
        if rank == n:
            break
        original = np.linalg.norm(X[:, j])
        pivot = work[rank:, j]
        norm = np.linalg.norm(pivot)
        if norm < tol * (original if original > 0 else 1.0):
            continue
        reflector = pivot.copy()
        reflector[0] += np.copysign(norm, pivot[0])
        reflector /= np.linalg.norm(reflector)
        work[rank:, j:] -= 2.0 * np.outer(reflector, reflector @ work[rank:, j:])
        kept.append(j)
    return np.array(kept, dtype=np.intp)


def check_finite(X: Matrix, names: Sequence[str], frame: Frame) -> None:
    """Refuse infinite values, naming the first column and row that has one.

    Raises
    ------
    DataError
        If an entry of X is infinite.
    """
    if np.isfinite(X).all():
        return
    j = int(np.argmax(~np.isfinite(X).all(axis=0)))
    bad = ~np.isfinite(X[:, j])
    raise DataError(
        f"infinite values in {names[j]!r}: {int(bad.sum())} of {len(bad)} rows, first at "
        f"{frame.row_name(int(np.argmax(bad)))}. Correct them, or mark them as missing"
    )
