"""Tests of fixed effects that all fitted models have, with random effects or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmm._words import Ddf
from lmm.fit import Fit
from lmm.plain_fit import PlainFit
from lmm.request import Request

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lmm.report.printed import PrintedTable
    from lmm.tables.fixed_tests import Hypotheses, LeastSquaresMeans


class CoefficientTests:
    """Contrasts, hypotheses and least-squares means."""

    fit: Fit | PlainFit
    call: Request

    def contest(
        self,
        L: str | Sequence[str] | ArrayLike,
        rhs: ArrayLike = 0.0,
        joint: bool = True,
        ddf: Ddf | None = None,
        level: float = 0.95,
    ) -> PrintedTable:
        """Test linear contrasts of the fixed effects, ``L beta = rhs``.

        Parameters
        ----------
        L : (p,) or (q, p) array, or text
            Contrasts, one per row. Where columns were dropped, rows for all columns (dropped ones
            too) are also taken, if they are estimable. Or hypotheses as text, ``"Days = 10"``,
            ``["fb = fc", "x"]``: see `lmm.linear_hypothesis`.
        rhs : float or (q,) array
            Values of an array's rows under the hypothesis.
        joint : bool
            One F test of all rows, or a t test with confidence limits for each.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, optional
            Method for degrees of freedom; the first for linear models, the last for others.
        level : float
            Confidence level.

        Raises
        ------
        DataError
            The number of columns is wrong, a row is not estimable, or dependent rows contradict
            each other.
        FormulaError
            Text is no linear hypothesis, or names another coefficient.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.contest([0, 1], rhs=10, joint=False).to_frame()[["Estimate", "t value"]].round(3)
           Estimate  t value
        1    10.467    0.302
        >>> m.contest("Days = 10", joint=False).to_frame()[["Estimate", "t value"]].round(3)
                   Estimate  t value
        Days = 10    10.467    0.302
        """
        from lmm.inference.fixed.ddf import ddf_method
        from lmm.tables.fixed_tests import contest

        return contest(ddf_method(self.fit, ddf), L, rhs, joint, level)

    def t_test(
        self, r_matrix: str | Sequence[str] | ArrayLike, ddf: Ddf | None = None
    ) -> PrintedTable:
        """Test hypotheses one by one; statsmodels' name of ``contest(..., joint=False)``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.t_test("Days = 10, Intercept = 250").to_frame()[["t value", "Pr(>|t|)"]].round(3)
                           t value  Pr(>|t|)
        Days = 10            0.302     0.766
        (Intercept) = 250    0.206     0.839
        """
        return self.contest(r_matrix, joint=False, ddf=ddf)

    def wald_test(
        self, r_matrix: str | Sequence[str] | ArrayLike, ddf: Ddf | None = None
    ) -> PrintedTable:
        """Test hypotheses jointly; statsmodels' name of `contest`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.wald_test("Days = 10").to_frame()[["DenDF", "F value"]].round(3)
           DenDF  F value
        1   17.0    0.091
        """
        return self.contest(r_matrix, ddf=ddf)

    def show_tests(self, type: str | int = "III", fractions: bool = False) -> Hypotheses:
        """Contrast matrices of the hypotheses that `anova` tests.

        Parameters
        ----------
        type : {"III", "II", "I"} or {3, 2, 1}
            As for `anova`.
        fractions : bool
            Whether to print entries as fractions.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.show_tests())
        $Days
             (Intercept) Days
        Days           0    1
        """
        from lmm.inference.fixed.term_contrasts import anova_type
        from lmm.tables.fixed_tests import hypotheses

        return hypotheses(self.fit.matrices, anova_type(type), fractions)

    def ls_means(
        self, term: str | None = None, ddf: Ddf | None = None, level: float = 0.95
    ) -> LeastSquaresMeans:
        """Least-squares means of factor terms, as lmerTest's ``ls_means``.

        Means over equal numbers of all combinations of levels, covariates at their mean; missing
        where the data do not determine one.

        Parameters
        ----------
        term : str, optional
            A term of factors; all of them by default.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, optional
            Method for degrees of freedom; the first for linear models, the last for others.
        level : float
            Confidence level.

        Raises
        ------
        DataError
            `term` is not a term of factors alone.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
        >>> m.ls_means("recipe").to_frame()[["Estimate", "df"]].round(3)
                 Estimate    df
        recipeA    33.122  42.0
        recipeB    31.644  42.0
        recipeC    31.600  42.0
        """
        from lmm.inference.fixed.ddf import ddf_method
        from lmm.tables.fixed_tests import ls_means

        return ls_means(self, ddf_method(self.fit, ddf), term, level, pairwise=False)

    def difflsmeans(
        self, term: str | None = None, ddf: Ddf | None = None, level: float = 0.95
    ) -> LeastSquaresMeans:
        """Differences of all pairs of least-squares means; parameters as for `ls_means`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
        >>> m.difflsmeans("recipe").to_frame()[["Estimate", "df"]].round(3)
                           Estimate    df
        recipeA - recipeB     1.478  42.0
        recipeA - recipeC     1.522  42.0
        recipeB - recipeC     0.044  42.0
        """
        from lmm.inference.fixed.ddf import ddf_method
        from lmm.tables.fixed_tests import ls_means

        return ls_means(self, ddf_method(self.fit, ddf), term, level, pairwise=True)
