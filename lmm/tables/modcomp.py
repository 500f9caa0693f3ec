"""Comparison of two models that differ in their fixed effects, as pbkrtest.

An F test with Kenward and Roger's or Satterthwaite's degrees of freedom, or a likelihood-ratio test
whose null distribution is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._progress import watched
from lmm._types import Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design.absent import is_unread
from lmm.errors import DataError, NumericalError
from lmm.fit import Fit, check_models
from lmm.fitted import Comparable
from lmm.inference.fixed.base import DdfMethod, FTest
from lmm.inference.fixed.ddf import check_contrasts, ddf_method
from lmm.inference.fixed.term_contrasts import restriction
from lmm.inference.resample.many import refit_many
from lmm.inference.variance.lrt import check_comparable, chi_square_tail
from lmm.laplace import LaplaceCriterion
from lmm.optimize import minimize
from lmm.report.cells import Column
from lmm.report.document import Block, Document
from lmm.report.format import format_numbers, format_p_values, round_decimals
from lmm.report.printed import TableLike
from lmm.report.tables import frame_cells, labels, starred
from lmm.simulate import simulate
from lmm.tables.comparison import ModelT, checked_scope, settled

if TYPE_CHECKING:
    from lmm.formula import Formula


# A column of the smaller model farther than this from the larger model's columns (relative to its
# length) does not lie in their space.
NESTED = 1e-7
DIGITS = 5


# F tests -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class FComparison(TableLike):
    """F test of a larger against a smaller model.

    Attributes
    ----------
    large : str
        Formula.
    small : str
        ``small :`` and a formula, or ``L =`` and the matrix.
    method : str
        Name of the method for degrees of freedom.
    test : FTest
        The test.
    """

    large: str
    small: str
    method: str
    test: FTest

    @property
    def p_value(self) -> float:
        """P-value of the (scaled) F test."""
        return self.test.p_value

    def to_frame(self) -> pd.DataFrame:
        """Rows ``Ftest`` and, for Kenward-Roger, ``FtestU`` (not scaled); pbkrtest's columns."""
        test = self.test
        rows = {"Ftest": [test.statistic, test.ndf, test.ddf, test.scaling, test.p_value]}
        if self.method == "Kenward-Roger":
            plain = FTest(test.unscaled, test.ndf, test.ddf)
            rows["FtestU"] = [plain.statistic, plain.ndf, plain.ddf, np.nan, plain.p_value]
        columns = ["stat", "ndf", "ddf", "F.scaling", "p.value"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def document(self) -> Document:
        """Both models and the test."""
        table = self.to_frame().loc[["Ftest"]]
        if self.method != "Kenward-Roger":
            table = table.drop(columns="F.scaling")
        return Document((f"large : {self.large}", self.small, *_tests_blocks(table)))


def kr_modcomp(large: Comparable, small: Comparable | str | ArrayLike) -> FComparison:
    """Kenward-Roger F test of the fixed effects by which two models differ.

    Parameters
    ----------
    large : LinearMixedModel
        The larger model; refitted by REML if it was fitted by maximum likelihood.
    small : LinearMixedModel, str, or (q, p) array
        The smaller model, of which only the fixed effects matter; the label of a term that it does
        not have, or a change of the formula such as ``". ~ . - Days"``, fitted to the larger
        model's rows; or a matrix L for ``L beta = 0``.

    Returns
    -------
    FComparison

    Raises
    ------
    DataError
        The smaller model's fixed effects are not within the larger one's, or are the same; the
        models were fitted to different data.

    Warns
    -----
    RefitWarning
        The larger model was refitted.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> large = lmm.lmer("Reaction ~ Days + (Days | Subject)", d)
    >>> lmm.kr_modcomp(large, large.update(". ~ . - Days"))
    large : Reaction ~ Days + (Days | Subject)
    small : Reaction ~ (Days | Subject)
            stat    ndf    ddf F.scaling   p.value
    Ftest 45.853  1.000 17.000         1 3.264e-06 ***
    ---
    Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
    """
    check_models(large)
    return _f_comparison(ddf_method(large.fit, "kenward-roger"), large, small)


def sat_modcomp(large: Comparable, small: Comparable | str | ArrayLike) -> FComparison:
    """Satterthwaite F test of the fixed effects by which two models differ; as `kr_modcomp`.

    Examples
    --------
    >>> import lmm
    >>> sleepstudy = lmm.load_dataset("sleepstudy")
    >>> large = lmm.lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)
    >>> small = lmm.lmer("Reaction ~ 1 + (Days | Subject)", sleepstudy)
    >>> lmm.sat_modcomp(large, small).to_frame().round(3)
             stat  ndf   ddf  F.scaling  p.value
    Ftest  45.853    1  17.0        1.0      0.0
    """
    check_models(large)
    return _f_comparison(ddf_method(large.fit, "satterthwaite"), large, small)


def _f_comparison(
    method: DdfMethod, large: Comparable, small: Comparable | str | ArrayLike
) -> FComparison:
    if isinstance(small, str):
        small = _smaller(large, small)
    if isinstance(getattr(small, "fit", None), Fit):
        L = nested_contrasts(large.fit, small.fit)  # type: ignore[union-attr]
        text = f"small : {_line(small.formula)}"  # type: ignore[union-attr]
    else:
        L = check_contrasts(method.fit, small)  # type: ignore[arg-type]
        names = [f"[{i + 1},]" for i in range(len(L))], [f"[,{j + 1}]" for j in range(L.shape[1])]
        text = f"L = \n{frame_cells(pd.DataFrame(L, *names))}"
    return FComparison(_line(large.formula), text, method.name, method.f_test(L))


def _smaller(large: ModelT, change: str) -> ModelT:
    """The model without a term, by its label, or with a changed formula."""
    if "~" not in change:
        (label,) = checked_scope(large.fit.matrices.fixed, [change])
        change = f". ~ . - {label}"
    return large.update_on_own_rows(change)


def restriction_matrix(large: Comparable, small: Comparable) -> pd.DataFrame:
    """Rows L of ``L beta = 0``, which holds in a model where a smaller one does.

    Parameters
    ----------
    large, small : LinearMixedModel or GeneralizedMixedModel
        Models of the same rows; the fixed effects of the second are combinations of the first's.

    Returns
    -------
    DataFrame (q, p)
        Columns by coefficient of the larger model; `m.contest` takes it.

    Raises
    ------
    DataError
        The models are not nested in this order, or differ in their data.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.restriction_matrix(m, m.update(". ~ . - Days")).abs()
       (Intercept)  Days
    0          0.0   1.0
    """
    check_models(large, small)
    L = nested_contrasts(large.fit, small.fit)
    return pd.DataFrame(L, columns=list(large.fit.matrices.fixed.names))


def nested_contrasts(large: Fit, small: Fit) -> Matrix:
    """L (q, p) with ``L beta = 0`` in the larger model where the smaller one holds.

    Raises
    ------
    DataError
        The models are not nested in this order, or differ in their data.
    """
    check_comparable([large, small])
    X, X_small = large.matrices.X, small.matrices.X
    if X_small.shape[1] >= X.shape[1]:
        raise DataError(
            f"the larger model comes first: it has {X.shape[1]} fixed effects, the second one "
            f"{X_small.shape[1]}"
        )
    if is_unread(X):
        return _left_out(large, small)
    Q = np.linalg.qr(X)[0]
    left = np.linalg.norm(X_small - Q @ (Q.T @ X_small), axis=0)
    outside = np.flatnonzero(left > NESTED * np.linalg.norm(X_small, axis=0))
    if len(outside):
        raise DataError(
            f"the models are not nested: {small.matrices.fixed.names[outside[0]]!r} of the "
            "smaller one is not a combination of the larger one's fixed effects"
        )
    return restriction(X, X_small)


def _left_out(large: Fit, small: Fit) -> Matrix:
    """Rows of the identity (q, p) for coefficients that the smaller of two summed models lacks.

    Raises
    ------
    DataError
        The smaller model has other columns than these.
    """
    names, others = large.matrices.fixed.names, small.matrices.fixed.names
    kept = [names.index(name) for name in others if name in names]
    # X T^-1 has orthonormal columns: these are X'WX.
    own, products = (fit.problem.T.T @ fit.problem.T for fit in (small, large))
    products = products[np.ix_(kept, kept)]
    size = np.sqrt(np.diag(products))
    if len(kept) < len(others) or (np.abs(own - products) > NESTED * np.outer(size, size)).any():
        raise DataError(
            "models that keep no rows are compared where the smaller one leaves out coefficients "
            "of the larger one and has no others: give the contrasts, or models of the same data "
            "in memory"
        )
    return np.delete(np.eye(len(names)), kept, axis=0)


# Parametric bootstrap ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapComparison(TableLike):
    """Likelihood-ratio test with a simulated null distribution.

    Attributes
    ----------
    large, small : str
        Formulas.
    statistic : float
        Likelihood-ratio statistic.
    df : int
        Difference in the number of parameters.
    simulated : (nsim,) array
        Statistics of responses simulated from the smaller model.
    """

    large: str
    small: str
    statistic: float
    df: int
    simulated: Vector

    @property
    def used(self) -> Vector:
        """Simulated statistics that are positive; the others are failures of the larger fit."""
        return self.simulated[self.simulated > 0.0]

    @property
    def extremes(self) -> int:
        """How many simulated statistics are as large or larger."""
        return int((self.used >= self.statistic).sum())

    @property
    def p_value(self) -> float:
        """``(extremes + 1) / (used + 1)``."""
        return (self.extremes + 1) / (len(self.used) + 1)

    def to_frame(self) -> pd.DataFrame:
        """Tests by row, pbkrtest's columns.

        ``LRT``: chi-square. ``PBtest``: the simulated distribution. ``Gamma``: a gamma distribution
        with its mean and variance. ``Bartlett``: the statistic scaled to have the chi-square's
        mean. ``F``: an F distribution with its mean.
        """
        from scipy.stats import f, gamma

        T, df, mean = self.statistic, self.df, float(self.used.mean())
        variance = float(self.used.var(ddof=1))
        corrected = T * df / mean
        ratio = mean / df
        ddf = 2.0 * ratio / (ratio - 1.0)
        rows = {
            "LRT": [T, df, np.nan, chi_square_tail(T, df)],
            "PBtest": [T, np.nan, np.nan, self.p_value],
            "Gamma": [T, np.nan, np.nan, gamma.sf(T, mean**2 / variance, scale=variance / mean)],
            "Bartlett": [corrected, df, np.nan, chi_square_tail(corrected, df)],
            "F": [T, df, ddf, f.sf(T / df, df, ddf) if ddf > 0.0 else np.nan],
        }
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=["stat", "df", "ddf", "p.value"]
        )

    def document(self) -> Document:
        """Both models, the numbers of samples, and the tests."""
        table = self.to_frame().loc[["LRT", "PBtest"]].drop(columns="ddf")
        counts = (
            f"Requested samples: {len(self.simulated)} Used samples: {len(self.used)} "
            f"Extremes: {self.extremes}"
        )
        return Document(
            (
                "Bootstrap test",
                counts,
                f"large : {self.large}",
                f"small : {self.small}",
                *_tests_blocks(table),
            )
        )


def pb_modcomp(
    large: Comparable,
    small: Comparable | str,
    nsim: int = 1000,
    seed: int | np.random.Generator | None = None,
    *,
    progress: bool | None = None,
) -> BootstrapComparison:
    """Likelihood-ratio test of nested models by parametric bootstrap.

    Responses are simulated from the smaller model, fitted by maximum likelihood, and both models
    are fitted to each (Halekoh & Hojsgaard, 2014, J. Stat. Softw. 59(9), section 4).

    Parameters
    ----------
    large : LinearMixedModel or GeneralizedMixedModel
        The larger model; refitted by maximum likelihood if it was fitted by REML.
    small : the same, or str
        The smaller model; or how it comes from the larger one, as for `kr_modcomp`.
    nsim : int
        Number of simulated responses.
    seed : int or numpy.random.Generator, optional
        Where the random numbers come from.
    progress : bool, optional
        Whether to show a bar; by default in a terminal or a notebook, after two seconds.

    Returns
    -------
    BootstrapComparison

    Raises
    ------
    ValueError
        `nsim` is less than 1.
    DataError
        The larger model does not come first, or the data differ.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> large = lmm.lmer("Reaction ~ Days + (Days | Subject)", d)
    >>> lmm.pb_modcomp(large, large.update(". ~ . - Days"), nsim=20, seed=1)
    Bootstrap test
    Requested samples: 20 Used samples: 20 Extremes: 0
    large : Reaction ~ Days + (Days | Subject)
    small : Reaction ~ (Days | Subject)
             stat df   p.value
    LRT    23.537  1 1.226e-06 ***
    PBtest 23.537      0.04762 *
    ---
    Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
    """
    checked_nsim(nsim)
    check_models(large)
    small = _smaller(large, small) if isinstance(small, str) else small
    check_models(small)
    check_comparable([large.fit, small.fit])
    large, small = settled([model.refit_ml() for model in (large, small)])
    return compared_by_bootstrap(large, small, nsim, seed, progress)


def checked_nsim(nsim: int) -> None:
    """Refuse less than one simulated response.

    Raises
    ------
    ValueError
        `nsim` is less than 1.
    """
    if nsim < 1:
        raise ValueError(f"nsim must be at least 1, not {nsim}.")


def compared_by_bootstrap(
    large: Comparable,
    small: Comparable,
    nsim: int,
    seed: int | np.random.Generator | None,
    progress: bool | None = None,
) -> BootstrapComparison:
    """Bootstrap test of two models fitted by maximum likelihood.

    Raises
    ------
    DataError
        The larger model does not come first.
    """
    fits = [large.fit, small.fit]
    df = fits[0].n_parameters - fits[1].n_parameters
    if df < 1:
        raise DataError(
            f"the larger model comes first: it has {fits[0].n_parameters} parameters, the second "
            f"one {fits[1].n_parameters}"
        )
    responses = simulate(fits[1], nsim, seed)
    deviances = [_deviances(model, responses, progress) for model in (large, small)]
    return BootstrapComparison(
        _line(large.formula),
        _line(small.formula),
        max(0.0, 2.0 * (fits[0].loglik - fits[1].loglik)),
        df,
        deviances[1] - deviances[0],
    )


def _deviances(model: Comparable, responses: pd.DataFrame, progress: bool | None) -> Vector:
    """Deviances (nsim,) of a model fitted to each response; NaN where a fit fails."""
    criterion: ProfiledCriterion | LaplaceCriterion = model.fit.criterion
    if isinstance(criterion, ProfiledCriterion):
        return refit_many(model, responses, df=False, progress=progress).criterion.to_numpy()
    rows = model.fit.matrices.frame.rows_of(responses.to_numpy(), "y")
    return np.array(
        [_deviance(criterion.with_response(y)) for y in watched(rows.T, "fit", progress)]
    )


def _deviance(criterion: LaplaceCriterion) -> float:
    try:
        return minimize(criterion).value
    except NumericalError:
        return np.nan


# Texts -------------------------------------------------------------------------------------------


def _line(formula: Formula) -> str:
    return " ".join(line.strip() for line in str(formula).split("\n"))


def _tests_blocks(table: pd.DataFrame) -> tuple[Block, ...]:
    """Tests as pbkrtest prints them: statistic and degrees of freedom share their decimals."""
    p_values = table["p.value"]
    columns = {
        name: format_numbers(table[name], DIGITS)
        if name == "F.scaling"
        else _texts(table[name].to_numpy())
        for name in table.columns
    }
    if {"stat", "ndf", "ddf"} <= set(columns):
        shared = _texts(table[["stat", "ndf", "ddf"]].to_numpy().ravel())
        for j, name in enumerate(("stat", "ndf", "ddf")):
            columns[name] = shared[j::3]
    columns["p.value"] = format_p_values(p_values, DIGITS - 1)
    cells = [Column(name, tuple(texts)) for name, texts in columns.items()]
    return starred(cells, labels(table.index), p_values)


def _texts(values: Vector) -> list[str]:
    texts = format_numbers(round_decimals(values, DIGITS - 1), DIGITS)
    return ["" if np.isnan(value) else text for value, text in zip(values, texts, strict=True)]
