"""Tests of fixed effects as users see them: coefficients, anova, contests, least-squares means.

The numbers come from `lmm.inference`; here they get R's names of rows and columns, and lmerTest's
prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, product
from typing import Literal, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._types import Matrix
from lmm._words import Ddf
from lmm.design.fixed import FixedEffects
from lmm.design.labels import rows_by_name
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, nearest
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.inference.fixed.anova import term_tests
from lmm.inference.fixed.balanced import BalancedPopulation
from lmm.inference.fixed.base import CovarianceMethod, DdfMethod, FTest, TTests, t_tests
from lmm.inference.fixed.ddf import check_contrasts, ddf_method
from lmm.inference.fixed.hypotheses import LinearHypotheses, hypothesis_labels, parse_hypotheses
from lmm.inference.fixed.term_contrasts import AnovaType, anova_type, term_contrasts
from lmm.plain_fit import PlainFit
from lmm.report.cells import Cells, Column
from lmm.report.document import Block, Document
from lmm.report.format import r_element
from lmm.report.printed import AnovaTable, PrintedTable, PrintedTables
from lmm.report.tables import coefficient_blocks, frame_cells, labels, rows_of


def coefficient_table(
    method: CovarianceMethod, letter: Literal["t", "z"] = "t", *, df: bool = True
) -> pd.DataFrame:
    """Estimates with t tests, lmerTest's columns."""
    names = pd.Index(method.fit.matrices.fixed.names)
    tests = t_tests(method, np.eye(len(names)))
    columns = {
        "Estimate": tests.estimate,
        "Std. Error": tests.std_error,
        "df": tests.df,
        f"{letter} value": tests.statistic,
        f"Pr(>|{letter}|)": tests.p_values,
    }
    if not df:
        del columns["df"]
    return pd.DataFrame(columns, index=names)


# Analysis of variance ----------------------------------------------------------------------------


def anova_frame(tests: dict[str, FTest | None], sigma: float) -> pd.DataFrame:
    """F tests by term as lmerTest's anova; rows of missing values for terms without columns."""

    def row(test: FTest) -> list[float]:
        mean = test.unscaled * sigma**2
        return [mean * test.ndf, mean, test.ndf, test.ddf, test.statistic, test.p_value]

    columns = ["Sum Sq", "Mean Sq", "NumDF", "DenDF", "F value", "Pr(>F)"]
    return rows_of(tests.items(), row, columns)


def type_anova(method: DdfMethod, type_: AnovaType) -> AnovaTable:
    """Type I, II or III analysis of variance."""
    tests = term_tests(method, type_)
    heading = f"Type {type_} Analysis of Variance Table with {method.name}'s method"
    return AnovaTable(anova_frame(tests, method.fit.sigma), (heading,))


def wald_tests(method: DdfMethod, type_: AnovaType, test: str = "Chisq") -> AnovaTable:
    """Type I, II or III Wald tests, printed as car's ``Anova``."""
    tested = term_tests(method, type_, method.vcov).items()
    if test == "Chisq":
        frame = rows_of(tested, _chisq_row, ["Chisq", "Df", "Pr(>Chisq)"])
        name = "Wald chisquare tests"
    else:
        frame = rows_of(tested, _wald_f_row, ["F", "Df", "Df.res", "Pr(>F)"])
        name = f"Wald F tests with {method.name} df"
    heading = f"Analysis of Deviance Table (Type {type_} {name})"
    return AnovaTable(frame, (heading, "", f"Response: {method.fit.formula.response}"))


def _wald_f_row(test: FTest) -> list[float]:
    return [test.statistic, test.ndf, test.ddf, test.p_value]


def wald_anova(
    m: EstimatedModel, type: str | int = "II", test: str = "Chisq", ddf: Ddf | None = None
) -> AnovaTable:
    """Wald tests of the fixed terms with the model's covariance, as car's ``Anova``.

    Type II differs from that of ``m.anova("II")``, lmerTest's, where designs are not balanced: a
    term is tested after what the terms that contain it are known to explain, by the covariance of
    the estimates instead of by the columns of the model matrix.

    Parameters
    ----------
    m : model
        With random effects or without; of `lmm.lm` ``test="F"`` gives car's table.
    type : {"II", "III", "I"} or {2, 3, 1}
        What a term is adjusted for, as for ``m.anova``. Type III does not depend on the contrasts
        of the factors: it is that of car for sum contrasts.
    test : {"Chisq", "F"}
        Chi-square tests, or F tests with a method's degrees of freedom (linear models).
    ddf : {"kenward-roger", "satterthwaite"}, optional
        The method for F, the first by default.

    Raises
    ------
    ValueError
        There is no such type, test or method.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe + temp + (1 | replicate)", lmm.load_dataset("cake"))
    >>> lmm.wald_anova(m)
    Analysis of Deviance Table (Type II Wald chisquare tests)
    <BLANKLINE>
    Response: angle
             Chisq Df Pr(>Chisq)
    recipe  5.8322  2    0.05414 .
    temp   84.9093  1    < 2e-16 ***
    ---
    Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
    """
    check_fitted(m)
    type_ = anova_type(type)
    if test not in ("Chisq", "F"):
        raise ValueError(f"test must be 'Chisq' or 'F', not {test!r}.")
    if test == "Chisq" and ddf is not None:
        raise ValueError("test='Chisq' has no denominator degrees of freedom: leave ddf out.")
    exact = isinstance(m.fit, PlainFit) and np.isfinite(m.fit.test_df)
    if test == "F" and not (exact or m.fit.family.is_gaussian_identity):
        raise ValueError("F tests exist for linear models only, not for those of glmer.")
    method = ddf_method(m.fit, ddf if test == "F" else "asymptotic", "kenward-roger")
    return wald_tests(method, type_, test)


def _chisq_row(test: FTest) -> list[float]:
    return [test.statistic * test.ndf, test.ndf, test.p_value]


# Contrasts ---------------------------------------------------------------------------------------


def contest(
    method: DdfMethod, L: str | Sequence[str] | ArrayLike, rhs: ArrayLike, joint: bool, level: float
) -> PrintedTable:
    """Test ``L beta = rhs``: jointly by F, or row by row by t.

    Raises
    ------
    DataError
        L has the wrong number of columns, or a row is not estimable.
    """
    asked = stated(method, L, rhs)
    if joint:
        tests = {"1": method.f_test(asked.L, asked.rhs)}
        return PrintedTable(anova_frame(dict(tests), method.fit.sigma))
    frame = _t_frame(t_tests(method, asked.L, asked.rhs), level)
    if isinstance(L, pd.DataFrame):
        names = [str(name) for name in L.index]
    elif is_text(L):
        names = list(asked.labels)
    else:
        names = [str(i + 1) for i in range(len(asked.L))]
    return PrintedTable(frame.set_axis(names, axis=0))


def is_text(hypothesis: object) -> TypeGuard[str | Sequence[str]]:
    """Whether hypotheses are written as text."""
    if isinstance(hypothesis, str):
        return True
    if not isinstance(hypothesis, list | tuple):
        return False
    return len(hypothesis) > 0 and all(isinstance(each, str) for each in hypothesis)


def stated(
    method: DdfMethod, hypothesis: str | Sequence[str] | ArrayLike, rhs: ArrayLike = 0.0
) -> LinearHypotheses:
    """Estimable hypotheses ``L beta = rhs``, from text or from an array L.

    Raises
    ------
    DataError, FormulaError
        L has the wrong number of columns, a row is not estimable, or the text is no hypothesis.
    ValueError
        `rhs` is given beside text.
    """
    names = method.fit.matrices.fixed.full_names
    if is_text(hypothesis):
        if np.any(np.asarray(rhs, dtype=float) != 0.0):
            raise ValueError("hypotheses as text hold their values: leave rhs out.")
        if isinstance(hypothesis, str):
            hypothesis = _of_term(method.fit.matrices, hypothesis) or hypothesis
        written = parse_hypotheses(hypothesis, names)
        return LinearHypotheses(_estimable(method, written.L), written.rhs, written.labels)
    rows = _estimable(method, hypothesis)
    values = np.broadcast_to(np.asarray(rhs, dtype=float), (len(rows),))
    shown = method.fit.matrices.fixed.names
    return LinearHypotheses(rows, values, hypothesis_labels(rows, values, shown))


def _of_term(matrices: ModelMatrices, text: str) -> list[str]:
    """Coefficients of the fixed term that a text names, if it names none itself."""
    fixed = matrices.fixed
    label = text.strip()
    if label in fixed.full_names or label not in fixed.term_labels:
        return []
    term = fixed.term_labels.index(label) + 1
    return [name for name, own in zip(fixed.names, fixed.assign, strict=True) if own == term]


def _t_frame(tests: TTests, level: float) -> pd.DataFrame:
    lower, upper = tests.limits(level)
    return pd.DataFrame(
        {
            "Estimate": tests.estimate,
            "Std. Error": tests.std_error,
            "df": tests.df,
            "t value": tests.statistic,
            "lower": lower,
            "upper": upper,
            "Pr(>|t|)": tests.p_values,
        }
    )


def _estimable(method: DdfMethod, L: ArrayLike) -> Matrix:
    """Rows of L (q, p) from an L for all columns, dropped ones too, or for those of the model."""
    from lmm.inference.marginal.estimator import Estimator

    fixed = method.fit.matrices.fixed
    full = fixed.full_names
    if not fixed.dropped:
        return check_contrasts(method.fit, L)
    given = np.atleast_2d(np.asarray(rows_by_name(L, full, "L"), dtype=float))
    if given.ndim != 2 or given.shape[1] != len(full):
        return check_contrasts(method.fit, L)
    bad = np.flatnonzero(~Estimator.of(method).is_estimable(given))
    if len(bad):
        raise DataError(
            f"row {bad[0] + 1} of L is not estimable: the data do not determine it, because the "
            f"columns {', '.join(fixed.dropped[:6])} depend linearly on the others"
        )
    return check_contrasts(method.fit, given[:, fixed.kept])


# Hypotheses --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Hypotheses(PrintedTables):
    """Contrast matrices of the terms, printed as lmerTest's ``show_tests``.

    Attributes
    ----------
    tables : dict of str to DataFrame
        Contrasts by term, under the coefficients' names.
    fractions : bool
        Whether entries are printed as fractions.
    """

    fractions: bool = False

    def _blocks(self, digits: int) -> Iterator[Block]:
        for term, matrix in self.tables.items():
            yield self._cells(matrix, digits, r_element(term))
            yield ""

    def _cells(self, matrix: pd.DataFrame, digits: int, title: str) -> Cells:
        if not self.fractions:
            return frame_cells(matrix, digits, title=title)
        texts = [[_fraction(value) for value in column] for column in matrix.to_numpy().T]
        width = max(len(text) for column in texts for text in column)
        columns = (
            Column(name, tuple(text.rjust(width) for text in column), left=True)
            for name, column in zip(labels(matrix.columns), texts, strict=True)
        )
        return Cells(tuple(columns), labels(matrix.index), title)


def _fraction(value: float) -> str:
    return str(Fraction(value).limit_denominator(2000))


def hypotheses(matrices: ModelMatrices, type_: AnovaType, fractions: bool) -> Hypotheses:
    """Contrast matrices of the terms that have columns in X."""
    contrasts = term_contrasts(matrices, type_)
    columns = pd.Index(matrices.fixed.names)
    found = {
        term: pd.DataFrame(L, index=list(contrasts.rows[term]), columns=columns)
        for term, L in contrasts.L.items()
        if len(L)
    }
    return Hypotheses(found, fractions)


# Least-squares means -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresMeans(PrintedTable):
    """Least-squares means or their differences, printed as lmerTest's ``ls_means``.

    Attributes
    ----------
    frame : DataFrame
        The means with their tests and intervals.
    contrasts : dict of str to DataFrame
        Rows by term that make them of the coefficients.
    """

    contrasts: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def show_tests(self, fractions: bool = False) -> Hypotheses:
        """Combinations of coefficients that the means are, by term.

        Parameters
        ----------
        fractions : bool
            Whether to print entries as fractions.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + temp + (1 | replicate)", lmm.load_dataset("cake"))
        >>> print(m.ls_means("recipe").show_tests())
        $recipe
                (Intercept) recipeB recipeC temp
        recipeA           1       0       0  200
        recipeB           1       1       0  200
        recipeC           1       0       1  200
        <BLANKLINE>
        """
        return Hypotheses(dict(self.contrasts), fractions)

    def document(self, *, digits: int = 5, stars: bool = True) -> Document:
        """The table, with `digits` significant digits, with or without stars."""
        rounded = self.frame.assign(df=self.frame["df"].round(1))
        blocks = coefficient_blocks(
            rounded, digits=digits, estimates=[0, 1, 4, 5], tests=[3], stars=stars
        )
        return Document((*self.heading, *blocks, *self.footing))


def ls_means(
    source: EstimatedModel, method: DdfMethod, term: str | None, level: float, pairwise: bool
) -> LeastSquaresMeans:
    """Means of factor terms over a balanced population, covariates at their means.

    Raises
    ------
    DataError
        `term` is not a term of factors alone.
    """
    from lmm.inference.marginal.estimator import Estimator

    matrices = method.fit.matrices
    fixed = matrices.fixed
    of_factors = {
        label: term_variables
        for label, term_variables in zip(fixed.term_labels, fixed.term_variables, strict=True)
        if all(text in fixed.levels for text in term_variables)
    }
    if term is not None and term not in of_factors:
        raise DataError(
            f"least-squares means need a term of factors alone, not {term!r}."
            f"{nearest(term, of_factors) if of_factors else ' The model has none.'}"
        )
    population = BalancedPopulation.of(fixed, matrices.frame, source.call.data)
    rows: list[Matrix] = [np.empty((0, len(fixed.full_names)))]
    names: list[str] = []
    contrasts: dict[str, pd.DataFrame] = {}
    for label in of_factors if term is None else [term]:
        means = population.means(of_factors[label])
        levels = _cell_names(fixed, of_factors[label])
        if pairwise:
            pairs = list(combinations(range(len(levels)), 2))
            means = np.array([means[i] - means[j] for i, j in pairs])
            levels = [f"{levels[i]} - {levels[j]}" for i, j in pairs]
        rows.append(means)
        names += levels
        contrasts[label] = pd.DataFrame(means, index=levels, columns=list(fixed.full_names))
    L = np.vstack(rows)
    known = 0.0 if pairwise else float(matrices.offset.mean())
    frame = _t_frame(Estimator.of(method).t_tests(L, np.full(len(L), known)), level)
    footing = (
        "",
        f"  Confidence level: {100 * level:g}%",
        f"  Degrees of freedom method: {method.name} ",
    )
    heading = ("Least Squares Means table:", "")
    return LeastSquaresMeans(frame.set_axis(names, axis=0), heading, footing, contrasts)


def _cell_names(fixed: FixedEffects, term: Sequence[str]) -> list[str]:
    """Names of a term's cells, such as ``Aa:Bu``, the first factor changing fastest."""
    levels = [[f"{text}{level}" for level in fixed.levels[text]] for text in reversed(term)]
    return [":".join(reversed(cell)) for cell in product(*levels)]
