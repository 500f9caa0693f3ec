"""What the data and the formula become: the arrays that every solver and report reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from lmm._brief import Brief
from lmm._types import Frozen, IntVector, Matrix, Vector, cached_property, frozen_property
from lmm.covariance import Covariance, OrnsteinUhlenbeck, Parameters, parameters_of
from lmm.design.codes import indicators
from lmm.design.columns import Factor
from lmm.design.fixed import independent_columns
from lmm.design.labels import by_name
from lmm.design.response import Response
from lmm.errors import LmmWarning
from lmm.formula import Formula

if TYPE_CHECKING:
    from lmm.design.fixed import FixedEffects
    from lmm.design.frame import Frame
    from lmm.design.random import ReRecipe


@dataclass(frozen=True, eq=False, repr=False)
class ReTerm(Frozen, Brief):
    """One random-effects term: codes and raw columns are primary, `Zt` is a view of them.

    Attributes
    ----------
    group : str
        Name of the grouping factor, as lme4 writes it (``cask:batch``).
    levels : (l,) array of str
        Levels in lme4's order; every one occurs in the data.
    columns : tuple of str
        R's names of the k columns, such as ``(Intercept)``, ``Days``.
    codes : (n,) int array
        Level of each row, in 0..l-1.
    Z : (n, k) array
        Raw model columns.
    covariance : Covariance
        Structure of the k x k relative covariance factor.
    label : str
        The term as lme4 prints it, ``Days | Subject``.
    recipe : ReRecipe or None
        How the term is made for new data; None for a term put together by hand.
    keys : (l,) array of str or None
        Levels as the recipe spells them, where `levels` shows crossed ones without escapes.
    """

    group: str
    levels: np.ndarray
    columns: tuple[str, ...]
    codes: IntVector
    Z: Matrix
    covariance: Covariance
    label: str
    recipe: ReRecipe | None = None
    keys: np.ndarray | None = None

    @property
    def n_levels(self) -> int:
        """Number of levels l."""
        return len(self.levels)

    @property
    def size(self) -> int:
        """Number of columns k."""
        return len(self.columns)

    @property
    def q(self) -> int:
        """Number of random effects, l * k."""
        return self.n_levels * self.size

    @cached_property
    def theta_names(self) -> tuple[str, ...]:
        """lme4's names of this term's theta."""
        return self.covariance.names(self.group, self.columns)

    @frozen_property
    def Zt(self) -> sparse.csc_array:
        """Transposed sparse model matrix, (l k, n): level by level, columns within."""
        return indicators(self.Z, self.codes, self.n_levels)

    def at_rows(self, rows: IntVector) -> ReTerm:
        """The term on some of its rows, without the levels that none of them has."""
        codes = self.codes[rows]
        used = np.bincount(codes, minlength=self.n_levels) > 0
        codes = (np.cumsum(used) - 1)[codes]
        keys = None if self.keys is None else self.keys[used]
        return replace(self, levels=self.levels[used], codes=codes, Z=self.Z[rows], keys=keys)

    def with_codes(self, codes: IntVector) -> ReTerm:
        """The term with other levels (n,), named by number."""
        present, own = np.unique(codes, return_inverse=True)
        return replace(self, levels=present.astype(str).astype(object), codes=own, keys=None)

    def matrix(self, data: Any) -> Matrix:
        """Raw model columns for new data, (n_new, k); rows with missing values are NaN.

        Raises
        ------
        DataError
            If a column is missing, or a factor among the effects has an unknown level.
        """
        return self._recipe.matrix(data)

    def times_for(self, data: Any) -> tuple[Matrix, Vector | None]:
        """Raw columns for new data, and times of rows at which the term has no column.

        None where every time has one, and for structures without times.
        """
        covariance = self.covariance
        if not isinstance(covariance, OrnsteinUhlenbeck) or not covariance.hom:
            return self.matrix(data), None
        Z, times = self._recipe.times(data, covariance.times)
        return Z, None if np.isnan(times).all() else times

    def labels_for(self, data: Any) -> np.ndarray:
        """Name of each row's level in new data, (n_new,) of str; None where it is missing."""
        factor = self._recipe.grouping(data)
        return factor.by_level(factor.levels, None)

    def codes_for(self, data: Any) -> IntVector:
        """Level of each row of new data, (n_new,); -1 where it is unknown or missing.

        `labels_for` tells unknown levels from missing ones.
        """
        keys = self.levels if self.keys is None else self.keys
        return self._recipe.grouping(data).recode(tuple(keys)).codes

    @property
    def _recipe(self) -> ReRecipe:
        if self.recipe is None:
            raise TypeError(f"term ({self.label}) was put together by hand, without a recipe")
        return self.recipe


@dataclass(frozen=True, eq=False, repr=False)
class Design(Frozen, Brief):
    """What a model knows of its rows before there is a response.

    Attributes
    ----------
    formula : Formula
        The parsed formula.
    X : (n, p) array
        Fixed-effects model matrix, linearly dependent columns dropped.
    terms : tuple of ReTerm
        Random-effects terms in lme4's order.
    fixed : FixedEffects
        Names of X's columns and dropped columns, term structure, and the recipe for new data.
    frame : Frame
        The rows and columns of the data that the model uses.
    notes : tuple of LmmWarning
        What the checks found, for `lmer` to issue.
    """

    formula: Formula
    X: Matrix
    terms: tuple[ReTerm, ...]
    fixed: FixedEffects
    frame: Frame
    notes: tuple[LmmWarning, ...] = ()

    def at_rows(self, rows: IntVector) -> Design:
        """The design on some of its rows, without levels and columns that none of them has.

        Transforms of the data (``scale``, ``poly``) and contrasts stay those of all rows.

        Parameters
        ----------
        rows : (m,) int array
            Positions among the n rows; a row may occur more than once.
        """
        X = self.X[rows]
        kept = independent_columns(X)
        return Design(
            self.formula,
            X[:, kept],
            tuple(term.at_rows(rows) for term in self.terms),
            replace(self.fixed, kept=self.fixed.kept[kept]),
            self.frame.at_rows(rows),
        )

    def with_codes(self, codes: Sequence[IntVector]) -> Design:
        """The design with other levels, one (n,) int array per term; they are named by number."""
        terms = (term.with_codes(own) for term, own in zip(self.terms, codes, strict=True))
        return replace(self, terms=tuple(terms))


@dataclass(frozen=True, eq=False, repr=False)
class ModelMatrices(Brief):
    """The numbers of one model: a design and its response.

    The attributes of both are those of the whole: ``matrices.X``, ``matrices.y``.

    Attributes
    ----------
    design : Design
        Fixed effects and random-effects terms.
    response : Response
        Response, prior weights and offset.
    """

    design: Design
    response: Response

    @property
    def formula(self) -> Formula:
        """The parsed formula."""
        return self.design.formula

    @property
    def y(self) -> Vector:
        """Response (n,), offset not subtracted."""
        return self.response.y

    @property
    def weights(self) -> Vector:
        """Prior weights (n,), all positive."""
        return self.response.weights

    @property
    def offset(self) -> Vector:
        """Known part of the linear predictor, (n,)."""
        return self.response.offset

    @property
    def X(self) -> Matrix:
        """Fixed-effects model matrix (n, p), linearly dependent columns dropped."""
        return self.design.X

    @property
    def terms(self) -> tuple[ReTerm, ...]:
        """Random-effects terms in lme4's order."""
        return self.design.terms

    @property
    def fixed(self) -> FixedEffects:
        """Names of X's columns, term structure, and the recipe for new data."""
        return self.design.fixed

    @property
    def frame(self) -> Frame:
        """The rows and columns of the data that the model uses."""
        return self.design.frame

    @property
    def notes(self) -> tuple[LmmWarning, ...]:
        """What the checks found, for `lmer` to issue."""
        return self.design.notes

    @property
    def n(self) -> int:
        """Number of observations."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Number of fixed-effects coefficients."""
        return int(self.X.shape[1])

    @property
    def q(self) -> int:
        """Number of random effects."""
        return sum(term.q for term in self.terms)

    @cached_property
    def parameters(self) -> Parameters:
        """How the covariance parameters make the covariances of the terms."""
        return parameters_of(tuple(term.covariance for term in self.terms))

    @property
    def theta_slices(self) -> tuple[slice, ...]:
        """Which part of theta belongs to each term."""
        return self.parameters.slices

    @cached_property
    def theta_names(self) -> tuple[str, ...]:
        """lme4's names of theta."""
        return tuple(name for term in self.terms for name in term.theta_names)

    @property
    def lower(self) -> Vector:
        """Lower bounds of theta."""
        return self.parameters.lower

    @cached_property
    def spanning(self) -> ModelMatrices:
        """The fixed part on rows that span all of them: all, or few where rows were not kept.

        What the rows determine about the coefficients, these determine.
        """
        summary, fixed = self.frame.summary, self.fixed
        if summary is None:
            return self
        found, n = fixed.variables.on(summary.spanning.rows, fixed.term_factors)
        levels = fixed.levels
        columns = {
            text: column.recode(levels[text]) if isinstance(column, Factor) else column
            for text, column in found.items()
        }
        rows = np.arange(n)
        frame = replace(self.frame, columns=columns, rows=rows, selected=rows, summary=None)
        X = fixed.layout.matrix(columns, n)[:, fixed.kept]
        design = replace(self.design, X=X, terms=(), frame=frame)
        return ModelMatrices(design, Response.of(np.zeros(n)))

    @property
    def full_factor(self) -> Matrix:
        """Rows with the cross-products of all rows of all columns, dropped ones too, (r, P)."""
        if self.frame.summary is not None:
            return self.frame.summary.factor
        if self.fixed.dropped:
            return self.fixed.layout.matrix(self.frame.columns, self.n)
        return self.X

    @property
    def factor(self) -> Matrix:
        """Rows with the cross-products of all rows of X, (r, p)."""
        return self.X if self.frame.summary is None else self.full_factor[:, self.fixed.kept]

    def variance(self, beta: Vector) -> float:
        """Variance over the rows of X beta, for coefficients (p,)."""
        if self.frame.summary is None:
            return float(np.var(self.X @ beta, ddof=1))
        return self.frame.summary.variance(beta, self.fixed.kept) / (self.n - 1)

    def at_rows(self, rows: IntVector) -> ModelMatrices:
        """The model on some of its rows (m,); see `Design.at_rows`."""
        return ModelMatrices(self.design.at_rows(rows), self.response.at_rows(rows))

    def with_response(self, y: Vector) -> ModelMatrices:
        """The model of another response (n,)."""
        return replace(self, response=replace(self.response, y=y))

    def with_columns(self, X: Matrix, kept: IntVector | None = None) -> ModelMatrices:
        """The model with other fixed-effects columns, (n, q).

        They are named as those of its own columns that are `kept`, (q,); all by default.
        """
        if kept is None:
            return replace(self, design=replace(self.design, X=X))
        fixed = replace(self.fixed, kept=self.fixed.kept[kept])
        design = replace(self.design, X=np.asfortranarray(X), fixed=fixed, notes=())
        return replace(self, design=design)

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor, lme4's order."""
        return {term.group: term.n_levels for term in self.terms}

    @property
    def flist(self) -> dict[str, pd.Categorical]:
        """Grouping factors as used, (n,) each."""
        return {
            term.group: pd.Categorical.from_codes(term.codes, categories=pd.Index(term.levels))
            for term in self.terms
        }

    def factors(self, theta: Vector) -> tuple[Matrix, ...]:
        """Relative covariance factors lambda, one (k, k) per term, for theta."""
        return self.parameters.factors(theta)

    @frozen_property
    def Zt(self) -> sparse.csc_array:
        """Transposed sparse random-effects model matrix, (q, n), lme4's layout."""
        return sparse.csc_array(sparse.vstack([term.Zt for term in self.terms], format="csc"))

    def Lambdat(self, theta: Vector) -> sparse.csc_array:
        """Transposed relative covariance factor, (q, q) upper triangular, for the parameters theta.

        Its pattern is that of the structure: where theta is zero, zeros are stored.
        """
        rows, columns, values, start = [], [], [], 0
        for term, part in zip(self.terms, self.theta_slices, strict=True):
            first = start + term.size * np.arange(term.n_levels)[:, None]
            i, j = term.covariance.pattern
            rows.append((first + j).ravel())
            columns.append((first + i).ravel())
            values.append(np.tile(term.covariance.factor(theta[part])[i, j], term.n_levels))
            start += term.q
        where = np.concatenate(rows), np.concatenate(columns)
        return sparse.csc_array((np.concatenate(values), where), shape=(self.q, self.q))


def checked_beta(matrices: ModelMatrices, beta: Any, otherwise: Vector) -> Vector:
    """Fixed effects (p,), by name or in their order.

    Raises
    ------
    ValueError
        There are not p.
    """
    return _checked("beta", beta, matrices.fixed.names, "fixed effects", otherwise)


def checked_theta(matrices: ModelMatrices, theta: Any, otherwise: Vector | None = None) -> Vector:
    """Covariance parameters (m,), by name or in their order.

    Raises
    ------
    ValueError
        There are not m.
    """
    return _checked("theta", theta, matrices.theta_names, "covariance parameters", otherwise)


def _checked(
    symbol: str, given: Any, names: Sequence[str], what: str, otherwise: Vector | None
) -> Vector:
    values = otherwise if given is None else by_name(given, names, symbol, otherwise)
    checked: Vector = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if checked.shape != (len(names),):
        raise ValueError(
            f"{symbol} has {checked.size} components, but the model has {len(names)} {what}: "
            f"{', '.join(names)}."
        )
    return checked
