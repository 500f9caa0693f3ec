"""Tests of fixed and random effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from lmm._words import Ddf, EffectsTest
from lmm.model.intervals import Intervals

if TYPE_CHECKING:
    from lmm.inference.fixed.term_contrasts import AnovaType
    from lmm.inference.variance.lrt import ExactTest
    from lmm.report.printed import AnovaTable
    from lmm.tables.selection import Selection


class ModelTests(Intervals):
    """Tests of fixed and random effects."""

    def exact_rlrt(
        self, nsim: int = 10_000, seed: int | np.random.Generator | None = None
    ) -> ExactTest:
        """Test the only variance component by simulating the exact null distribution.

        The model needs one scalar random effect and a fit by REML. See
        `lmm.inference.variance.lrt.exact_restricted_lrt`.

        Parameters
        ----------
        nsim : int
            Number of values drawn from the null distribution.
        seed : int or numpy.random.Generator, optional
            Where the random numbers come from.

        Raises
        ------
        ValueError
            The model has another random part, or was fitted by maximum likelihood.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.exact_rlrt(seed=1)
        simulated finite sample distribution of RLRT (10000 simulated values)
        RLRT = 6.3689, p-value = 0.00...
        """
        from lmm.inference.variance.lrt import exact_restricted_lrt

        return exact_restricted_lrt(self.fit, nsim, seed)

    def anova(
        self,
        type: str | int = "III",
        ddf: Ddf | None = None,
        test: EffectsTest = "F",
        nsim: int = 1000,
        seed: int | np.random.Generator | None = None,
        *,
        progress: bool | None = None,
    ) -> AnovaTable:
        """F tests of the fixed terms, as lmerTest's ``anova``; or tests that compare models.

        Parameters
        ----------
        type : {"III", "II", "I"} or {3, 2, 1}
            What a term is adjusted for: all other terms; those that do not contain it; those
            before it. Type III does not depend on the contrasts of the factors.
        ddf : {"satterthwaite", "kenward-roger", "lme4"}, optional
            Method for denominator degrees of freedom, the first by default; ``"lme4"`` gives
            sequential sums of squares without tests.
        test : {"F", "LRT", "PB"}
            F tests; likelihood-ratio tests of models fitted by maximum likelihood; or these with
            null distributions simulated as by `lmm.pb_modcomp` (`lmm.tables.term_models` says
            which models are compared; afex's ``mixed``).
        nsim : int
            Responses simulated for each term (``"PB"``).
        seed : int or numpy.random.Generator, optional
            Where their random numbers come from.
        progress : bool, optional
            Whether to show a bar of the simulated responses; by default in a terminal or a notebook
            when they take more than two seconds.

        Returns
        -------
        AnovaTable
            ``Sum Sq, Mean Sq, NumDF, DenDF, F value, Pr(>F)``; of comparisons
            ``Chisq, Df, Pr(>Chisq)``, and ``Pr(>PB)``.

        Raises
        ------
        ValueError
            There is no such type, method or test; or `ddf` is given for a comparison of models.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.anova()
        Type III Analysis of Variance Table with Satterthwaite's method
             Sum Sq Mean Sq NumDF DenDF F value    Pr(>F)
        Days  30031   30031     1    17  45.853 3.264e-06 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        >>> m.anova(test="LRT").to_frame().round(3)
               Chisq   Df  Pr(>Chisq)
        Days  23.537  1.0         0.0
        """
        from lmm.inference.fixed.ddf import ddf_method
        from lmm.inference.fixed.term_contrasts import anova_type
        from lmm.tables.comparison import sequential_anova
        from lmm.tables.fixed_tests import type_anova

        checked = anova_type(type)
        if test != "F":
            return self._compared_terms(checked, ddf, test, nsim, seed, progress)
        if ddf == "lme4":
            return sequential_anova(self)
        return type_anova(ddf_method(self.fit, ddf), checked)

    def _compared_terms(
        self,
        type_: AnovaType,
        ddf: Ddf | None,
        test: str,
        nsim: int,
        seed: int | np.random.Generator | None,
        progress: bool | None,
    ) -> AnovaTable:
        from lmm.tables.term_models import lrt_anova, pb_anova

        if test not in ("LRT", "PB"):
            wald = "F" if self.fit.family.is_gaussian_identity else "Chisq"
            raise ValueError(
                f"test must be {wald!r}, 'LRT' or 'PB', not {test!r}; "
                "lmm.wald_anova(m) has chi-square tests."
            )
        if ddf is not None:
            raise ValueError(f"test={test!r} has no denominator degrees of freedom: leave ddf out.")
        if test == "LRT":
            return lrt_anova(self, type_)
        return pb_anova(self, type_, nsim, seed, progress)

    def ranova(self, reduce_terms: bool = True) -> AnovaTable:
        """Likelihood-ratio tests of the random terms, as lmerTest's ``ranova``.

        Parameters
        ----------
        reduce_terms : bool
            Whether a term with several effects loses one effect at a time, instead of being left
            out.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.ranova()
        ANOVA-like table for random-effects: Single term deletions
        <BLANKLINE>
        Model:
        Reaction ~ Days + (Days | Subject)
                                 npar  logLik    AIC    LRT Df Pr(>Chisq)
        <none>                      6 -871.81 1755.6
        Days in (Days | Subject)    4 -893.23 1794.5 42.837  2   4.99e-10 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.tables.selection import ranova

        return ranova(self, reduce_terms)

    def step(
        self,
        ddf: Ddf | None = None,
        alpha_random: float = 0.1,
        alpha_fixed: float = 0.05,
        reduce_random: bool = True,
        reduce_fixed: bool = True,
        keep: Sequence[str] = (),
    ) -> Selection[Self]:
        """Backward selection of random, then fixed terms, as lmerTest's ``step``.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, optional
            Method for the F tests of fixed terms; the first for linear models, the last for others.
        alpha_random, alpha_fixed : float
            A term stays if its p-value is below this.
        reduce_random, reduce_fixed : bool
            Whether terms of that kind are left out at all.
        keep : sequence of str
            Labels of fixed terms that stay.

        Returns
        -------
        Selection
            With tables ``random`` and ``fixed``, and ``get_model()``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.step().get_model().formula
        Formula('Reaction ~ Days + (Days | Subject)')
        """
        from lmm.tables.selection import step

        return step(self, ddf, alpha_random, alpha_fixed, reduce_random, reduce_fixed, keep)
