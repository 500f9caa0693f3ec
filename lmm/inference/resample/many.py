"""One design, many responses: `refit_many`, and the engines behind it and behind the bootstrap."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from lmm._progress import progress_bar
from lmm._threads import blas_threads, one_blas_thread
from lmm._types import Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design.fixed import independent_columns
from lmm.design.frame import Frame
from lmm.design.matrices import ModelMatrices
from lmm.design.table import Table, number_array, number_matrix
from lmm.errors import DataError
from lmm.fit import Fit, check_linear
from lmm.fitted import Fitted
from lmm.inference.fixed.satterthwaite import Satterthwaite
from lmm.inference.resample.interpolated import Interpolated
from lmm.inference.resample.lockstep import Lockstep
from lmm.inference.resample.regressed import StandardizedRows, rows_of
from lmm.inference.resample.replicates import LARGE, Replicates
from lmm.optimize import minimize
from lmm.pls.kernels import sum_by
from lmm.report.document import Document
from lmm.report.printed import TableLike

# Fits that a worker makes one by one before it reports.
FEW = 4


Data = TypeVar("Data")


class Together(Protocol[Data]):
    """A design that is fitted to a batch of responses at once."""

    @property
    def criterion(self) -> ProfiledCriterion:
        """The design; its response does not matter."""

    @property
    def rows(self) -> StandardizedRows:
        """Standardized rows that show its responses."""

    @property
    def batch(self) -> int:
        """Responses that are best fitted together."""

    def responses(self, y: Matrix, hidden: Vector) -> Data:
        """What it needs of responses (n, r) and hidden sums of squares (r,)."""

    def fit(self, data: Data, start: Vector, *, df: bool = False) -> Replicates:
        """Fit them from whitened coordinates (m,)."""

    def score(self, data: Data, x: Vector) -> Matrix:
        """Statistics (r, d) that the score at x (m,) is linear in."""


@dataclass(frozen=True, eq=False)
class Batched(Generic[Data]):
    """All responses at once; those that this leaves without a minimum one by one.

    Parameters
    ----------
    design : Lockstep or Interpolated
        The design.
    estimate : (m,) array
        Whitened coordinates of the design's own fit.
    """

    design: Together[Data]
    estimate: Vector

    @property
    def batch(self) -> int:
        """Responses that are best fitted together."""
        return self.design.batch

    @property
    def rows(self) -> StandardizedRows:
        """Standardized rows that show the responses."""
        return self.design.rows

    def replicates(self, y: Matrix, hidden: Vector, *, df: bool = False) -> Replicates:
        """Fit standardized responses.

        Parameters
        ----------
        y : (n, r) array
            Responses in the standardized rows: weighted, offset subtracted.
        hidden : (r,) array
            Further residual sums of squares that no row shows.
        df : bool
            Whether to compute Satterthwaite's degrees of freedom.
        """
        # The optimizer of single fits knows more ways out of a corner.
        single = OneByOne(self.design.criterion, self.estimate)
        start = lifted(self.design.criterion, self.estimate)
        fits = self.design.fit(self.design.responses(y, hidden), start, df=df)
        stuck = np.flatnonzero(~fits.converged)
        if len(stuck) == 0 or self.rows.hidden:
            return fits
        return fits.updated(stuck, single.replicates(y[:, stuck], hidden[stuck], df=df))

    def score(self, y: Matrix, hidden: Vector) -> Matrix:
        """Statistics (r, d) that the score at the design's own estimates is linear in."""
        return self.design.score(self.design.responses(y, hidden), self.estimate)


@dataclass(frozen=True, eq=False)
class OneByOne:
    """One response after the other, each from the design's own estimates.

    Parameters
    ----------
    criterion : ProfiledCriterion
        The design; its response does not matter.
    estimate : (m,) array
        Whitened coordinates of the design's own estimates.
    """

    criterion: ProfiledCriterion
    estimate: Vector

    batch = FEW

    @property
    def rows(self) -> StandardizedRows:
        """All standardized rows."""
        return rows_of(self.criterion.problem)

    def _criterion(self, y: Vector) -> ProfiledCriterion:
        """The criterion of one standardized response (n,)."""
        matrices = self.criterion.matrices
        return self.criterion.with_response(matrices.response.raw(y))

    def replicates(self, y: Matrix, hidden: Vector, *, df: bool = False) -> Replicates:
        """Fit standardized responses, which must show all rows, as `Batched` does."""
        start = self.criterion.to_theta(lifted(self.criterion, self.estimate))
        return Replicates.concatenate([self._one(column, start, df) for column in y.T])

    def _one(self, y: Vector, start: Vector, df: bool) -> Replicates:
        criterion = self._criterion(y)
        optimum = minimize(criterion, start=start)
        fit = Fit.at(criterion.matrices.formula, criterion, optimum)
        freedom = Satterthwaite.of(fit).df(np.eye(len(fit.beta))) if df else np.empty(0)
        return Replicates(
            fit.theta[None],
            np.array([fit.sigma]),
            fit.beta[None],
            np.sqrt(np.diag(fit.vcov))[None],
            freedom[None],
            np.array([optimum.value]),
            np.array([optimum.converged]),
            np.array([fit.is_singular()]),
        )

    def score(self, y: Matrix, hidden: Vector) -> Matrix:
        """Statistics (r, d) that the score at the design's own estimates is linear in."""
        return np.array([self._score(self._criterion(column)) for column in y.T])

    def _score(self, criterion: ProfiledCriterion) -> Vector:
        problem = criterion.problem
        solution = criterion.pls.at(criterion.factors(self.estimate)).solution()
        terms = list(zip(problem.matrices.terms, problem.term_columns, strict=True))
        residual = problem.y - problem.X @ solution.beta
        for (term, Z), b in zip(terms, solution.effects, strict=True):
            residual = residual - np.einsum("ij,ij->i", Z, b[term.codes])
        blocks = []
        for term, Z in terms:
            v = sum_by(Z.T * residual, term.codes, term.n_levels)  # Z'V^-1(y - X beta)
            blocks.append((v @ v.T).ravel())
        size = np.append(np.concatenate(blocks), solution.terms.pwrss) * problem.scale**2
        return np.concatenate([size, problem.beta(solution.beta)])


Engine: TypeAlias = Batched[Any] | OneByOne


def lifted(criterion: ProfiledCriterion, x: Vector) -> Vector:
    """Whitened coordinates off the boundary, where every response would be stationary."""
    return np.where(criterion.lower == 0.0, np.maximum(x, 0.1), x)


def engine_for(
    criterion: ProfiledCriterion, estimate: Vector, rows: StandardizedRows | None = None
) -> Engine:
    """A batched engine where one fits the design and variances are not large, else one by one.

    A known sigma, which the batched engines profile out, is left to the latter too.
    Small components advance in lockstep; larger designs are interpolated about the estimates.

    Parameters
    ----------
    criterion : ProfiledCriterion
        The design.
    estimate : (m,) array
        Whitened coordinates to start from.
    rows : StandardizedRows, optional
        Its rows compressed, for `Lockstep`; all rows by default.
    """
    if criterion.sigma is not None or np.abs(estimate).max(initial=0.0) > LARGE:
        return OneByOne(criterion, estimate)
    everything = rows_of(criterion.problem)
    if lockstep := Lockstep.build(criterion, everything if rows is None else rows):
        return Batched(lockstep, estimate)
    if interpolated := Interpolated.build(criterion, everything, estimate):
        return Batched(interpolated, estimate)
    return OneByOne(criterion, estimate)


# Many responses -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class ManyFits(TableLike):
    """Fits of one design to many responses, one row each.

    Attributes
    ----------
    theta, fixef, std_error, df : DataFrame
        Covariance parameters (lme4's scale), fixed effects, their standard errors and
        Satterthwaite's degrees of freedom (no columns if not asked for).
    sigma, criterion : Series
        Residual standard deviations; REML criteria or deviances.
    converged, singular : Series of bool
        Verdicts.
    """

    theta: pd.DataFrame
    fixef: pd.DataFrame
    std_error: pd.DataFrame
    df: pd.DataFrame
    sigma: pd.Series[float]
    criterion: pd.Series[float]
    converged: pd.Series[bool]
    singular: pd.Series[bool]

    @property
    def tvalues(self) -> pd.DataFrame:
        """Fixed effects over their standard errors."""
        return self.fixef / self.std_error

    @property
    def pvalues(self) -> pd.DataFrame:
        """Two-sided p-values of the fixed effects, from t with `df` degrees of freedom."""
        from scipy.stats import t

        values = 2.0 * t.sf(self.tvalues.abs(), self.df)
        return pd.DataFrame(values, index=self.fixef.index, columns=self.fixef.columns)

    def to_frame(self) -> pd.DataFrame:
        """Everything side by side.

        Returns
        -------
        DataFrame
            ``criterion, converged, singular, sigma``; theta as ``theta Subject.Days``; for each
            fixed effect its name, ``se Days``, ``t Days``, ``df Days``.
        """
        parts = [self.theta.add_prefix("theta "), self.fixef, self.std_error.add_prefix("se ")]
        parts += [self.tvalues.add_prefix("t "), self.df.add_prefix("df ")]
        flags = pd.DataFrame(
            {
                "criterion": self.criterion,
                "converged": self.converged,
                "singular": self.singular,
                "sigma": self.sigma,
            }
        )
        return pd.concat([flags, *parts], axis=1)

    def __len__(self) -> int:
        return len(self.sigma)

    def document(self) -> Document:
        """How many fits there are, and of which kind."""
        singular, failed = int(self.singular.sum()), int((~self.converged).sum())
        counts = f"{singular} singular, {failed} not converged"
        return Document((f"{len(self)} fits of one design: {counts}.",))


@one_blas_thread
def refit_many(m: Fitted, Y: Any, *, df: bool = True, progress: bool | None = None) -> ManyFits:
    """Fit one model to many responses.

    Designs whose levels fall into small components are fitted in batches, all responses advancing
    together; many responses of a larger design by interpolation about the estimates of `m`, if
    their own are near; others one by one. Missing values are allowed: responses with the same
    pattern are fitted together.

    Parameters
    ----------
    m : LinearMixedModel
        A fit of the model; its estimates are where every response starts.
    Y : (n, r) array or table
        Responses in columns, for the rows used or for all rows that ``subset`` selects; rows of a
        pandas table are put in the order of the data's labels.
    df : bool, default True
        Whether to compute Satterthwaite's degrees of freedom.
    progress : bool, optional
        Whether to show a bar; by default in a terminal or a notebook, after two seconds.

    Returns
    -------
    ManyFits
        With tables by response, and ``to_frame()``.

    Raises
    ------
    DataError
        Y has other rows, infinite values, columns that are missing altogether, or so many missing
        values that the model is no longer determined; the message names the columns.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> fits = lmm.refit_many(m, m.simulate(100, seed=1))
    >>> fits.fixef.shape
    (100, 2)
    """
    check_linear("fits of many responses at once", m)
    fit = m.fit
    names, values = _responses(fit.matrices.frame, Y)
    patterns = list(_patterns(fit.matrices, names, values))
    parts, order = [], []
    with progress_bar(values.shape[1], "fit", progress) as bar:
        for kept, columns in patterns:
            part = fit if kept.all() else _without(fit, kept)
            engine = engine_for(part.criterion, part.optimum.x)
            parts += _fitted(engine, part.matrices, values[np.ix_(kept, columns)], df, bar)
            order.append(columns)
    back = np.argsort(np.concatenate(order))
    return _labelled(fit.matrices, names, Replicates.concatenate(parts), back)


def _responses(frame: Frame, Y: Any) -> tuple[pd.Index, Matrix]:
    """Names of the responses and their values at the rows used, (n, r)."""
    if isinstance(Y, np.ndarray):
        table = pd.DataFrame(number_matrix(Y))
        values = frame.rows_of(table.to_numpy(), "Y")
    else:
        read = Table.of(Y.to_frame() if isinstance(Y, pd.Series) else Y)
        columns = {name: number_array(read.series(name), name) for name in read.names}
        table = pd.DataFrame(columns, index=read.index)
        values = np.asarray(frame.rows_of(table if _is_labelled(Y) else table.to_numpy(), "Y"))
    if values.shape[1] == 0:
        raise DataError("Y has no columns: give at least one response.")
    _refuse(np.isinf(values).any(axis=0), table.columns, "have infinite values")
    _refuse(np.isnan(values).all(axis=0), table.columns, "are missing altogether")
    return table.columns, values


def _is_labelled(Y: Any) -> bool:
    """Whether rows of responses have labels of their own."""
    columns = Y.values() if isinstance(Y, Mapping) else [Y]
    return any(isinstance(column, pd.Series | pd.DataFrame) for column in columns)


def _refuse(bad: np.ndarray, names: pd.Index, fault: str) -> None:
    if bad.any():
        shown = ", ".join(map(str, names[bad][:5])) + (", ..." if bad.sum() > 5 else "")
        raise DataError(f"{int(bad.sum())} responses {fault}: {shown}. Leave them out of Y.")


def _patterns(
    matrices: ModelMatrices, names: pd.Index, values: Matrix
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows observed (n,) and the columns (r_i,) that share them, checked before any computing."""
    observed = ~np.isnan(values.T)
    packed = np.packbits(observed, axis=1)
    incomplete = np.flatnonzero(~observed.all(axis=1))
    _, which = np.unique(packed[incomplete], axis=0, return_inverse=True)
    groups = [incomplete[which.ravel() == i] for i in range(1 + which.max(initial=-1))]
    complete = np.flatnonzero(observed.all(axis=1))
    for columns in [complete, *groups] if len(complete) else groups:
        kept = observed[columns[0]]
        X = matrices.X[kept]
        lost = len(X) <= matrices.p or len(independent_columns(X)) < matrices.p
        single = any(len(np.unique(term.codes[kept])) < 2 for term in matrices.terms)
        if lost or single:
            fault = "fixed effects that are not determined" if lost else "a single level"
            _refuse(np.isin(np.arange(len(names)), columns), names, f"leave {fault}")
        _refuse_exact(matrices, names, values, kept, columns)
        yield kept, columns


def _refuse_exact(
    matrices: ModelMatrices, names: pd.Index, values: Matrix, kept: np.ndarray, columns: np.ndarray
) -> None:
    """Refuse responses in which the fixed effects leave no variation."""
    y = values[np.ix_(kept, columns)] - matrices.offset[kept, None]
    Q = np.linalg.qr(matrices.X[kept])[0]
    left = np.linalg.norm(y - Q @ (Q.T @ y), axis=0)
    exact = left <= 1e-12 * np.linalg.norm(y, axis=0)
    bad = np.isin(np.arange(len(names)), columns[exact])
    _refuse(bad, names, "are fitted exactly by the fixed effects")


def _without(fit: Fit, kept: np.ndarray) -> Fit:
    """The fit's design on some of its rows, at the same estimates."""
    part = fit.matrices.at_rows(np.flatnonzero(kept))
    criterion = fit.criterion.on(part)
    optimum = dataclasses.replace(fit.optimum, x=criterion.to_x(fit.theta))
    return dataclasses.replace(fit, criterion=criterion, optimum=optimum)


def _fitted(
    engine: Engine, matrices: ModelMatrices, values: Matrix, df: bool, bar: Any
) -> list[Replicates]:
    """Fit raw responses (n, r) in batches of bounded memory."""
    parts = []
    with blas_threads(0):
        for start in range(0, values.shape[1], engine.batch):
            y = matrices.response.standardized(values[:, start : start + engine.batch])
            parts.append(engine.replicates(y, np.zeros(y.shape[1]), df=df))
            bar.update(y.shape[1])
    return parts


def _labelled(
    matrices: ModelMatrices, names: pd.Index, fits: Replicates, order: Sequence[int] | np.ndarray
) -> ManyFits:
    """Tables in the order of the responses."""
    fixed = list(matrices.fixed.names)

    def table(values: Matrix, columns: Sequence[str]) -> pd.DataFrame:
        width = values.shape[1]
        return pd.DataFrame(values[order], index=names, columns=list(columns)[:width])

    return ManyFits(
        table(fits.theta, matrices.theta_names),
        table(fits.beta, fixed),
        table(fits.std_error, fixed),
        table(fits.df, fixed),
        pd.Series(fits.sigma[order], index=names),
        pd.Series(fits.criterion[order], index=names),
        pd.Series(fits.converged[order], index=names),
        pd.Series(fits.singular[order], index=names),
    )
