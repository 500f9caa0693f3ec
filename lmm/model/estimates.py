"""Labelled estimates: effects, variances, likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from scipy import sparse
from scipy.linalg import block_diag

from lmm._types import Matrix, cached_property
from lmm._words import Ddf, ResidualKind
from lmm.fit import check_linear
from lmm.model.base import MixedModel

if TYPE_CHECKING:
    from lmm.joint import JointCovariance
    from lmm.report.random_effects import Coefficients, PrincipalComponents, RandomEffects
    from lmm.report.varcorr import VarCorr


class LabelledEstimates(MixedModel):
    """Estimates as labelled tables."""

    @property
    def reml(self) -> bool:
        """Whether the model was fitted by REML."""
        return self.fit.reml

    @property
    def cnms(self) -> dict[str, tuple[str, ...]]:
        """Names of the random-effects columns per term, terms named as in `varcorr`."""
        return {group: block.columns for group, block in self.varcorr().blocks.items()}

    def marginal_covariance(self) -> sparse.csc_array:
        """Covariance of the response without its random effects known, sparse (n, n).

        ``sigma^2 (Z Lambda Lambda'Z' + W^-1)``, the V of generalized least squares.

        Raises
        ------
        ValueError
            The model is not linear.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> V = m.marginal_covariance()
        >>> V.shape, round(float(V[0, 1] / V[0, 0]), 4) == round(lmm.icc(m).adjusted, 4)
        ((30, 30), True)
        """
        check_linear("marginal covariance matrices", self)
        A = self.Z @ self.Lambda
        noise = sparse.diags_array(1.0 / self.weights)
        return sparse.csc_array(self.sigma**2 * (A @ A.T + noise))

    def vcov(self, full: bool = False, *, ddf: Ddf | None = None) -> pd.DataFrame:
        """Covariance matrix of the fixed effects, (p, p).

        Parameters
        ----------
        full : bool
            Whether to return the joint covariance of the errors of fixed and random effects
            instead, (p + q, p + q): the random effects follow, named ``Subject.308.(Intercept)``,
            by grouping factor and level. It is dense; ``m.joint`` gives blocks of it.
        ddf : {"kenward-roger"}, optional
            Covariance that allows for the estimation of the variances, as this method's tests use.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.vcov().round(3)
                     (Intercept)   Days
        (Intercept)       46.575 -1.451
        Days              -1.451  2.389
        """
        names = list(self.fit.matrices.fixed.names)
        if ddf is not None:
            from lmm.inference.fixed.ddf import ddf_method

            return pd.DataFrame(ddf_method(self.fit, ddf).vcov, index=names, columns=names)
        if not full:
            return pd.DataFrame(self.fit.vcov, index=names, columns=names, copy=True)
        for group, table in self.ranef().items():
            names += [f"{group}.{level}.{column}" for level in table.index for column in table]
        return pd.DataFrame(self.joint.matrix(), index=names, columns=names)

    def varcorr(self) -> VarCorr:
        """Variance components: standard deviations and correlations, printed as R does.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.varcorr())
         Groups   Name        Std.Dev. Corr
         Subject  (Intercept) 24.7405
                  Days         5.9221  0.066
         Residual             25.5918
        """
        from lmm.report.varcorr import variance_components

        terms = self.fit.matrices.terms
        return variance_components(
            [term.group for term in terms],
            [term.columns for term in terms],
            self.fit.covariances,
            self.fit.residual_deviation,
            structures=[term.covariance for term in terms],
            is_known=self.fit.known_sigma is not None,
        )

    def ranef(self, condvar: bool = False) -> RandomEffects:
        """Conditional modes of the random effects: a table per grouping factor.

        Terms of one grouping factor share a table, as in lme4.

        Parameters
        ----------
        condvar : bool
            Whether to add the conditional covariance of each level's random effects, for
            ``.condvar`` and the ``condsd`` of ``.to_frame()``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.ranef(condvar=True).to_frame().round(2).head(2)
          grpvar         term grp  condval  condsd
        0  Batch  (Intercept)   A   -17.61   19.59
        1  Batch  (Intercept)   B     0.39   19.59
        """
        from lmm.report.random_effects import RandomEffects

        parts: dict[str, list[pd.DataFrame]] = {}
        for term, effect in zip(self.fit.matrices.terms, self.fit.b, strict=True):
            table = pd.DataFrame(
                effect, index=pd.Index(term.levels), columns=list(term.columns), copy=True
            )
            parts.setdefault(term.group, []).append(table)
        tables = {group: pd.concat(some, axis=1) for group, some in parts.items()}
        if not condvar:
            return RandomEffects(tables)
        return RandomEffects(tables, dict(zip(tables, self.joint.conditional, strict=True)))

    def expected_ranks(self) -> pd.DataFrame:
        """Expected ranks of the random effects, which allow for their uncertainty.

        The expected rank of a level is 1 plus the sum over the others of the probability that their
        effect is smaller, with normal effects of the conditional means and variances (Lingsma et
        al., 2010, Int. J. Epidemiol. 39, 1247-1254; merTools' ``expectedRank``). Levels of which
        little is known come near the middle.

        Returns
        -------
        DataFrame
            ``group level term estimate std.error expected.rank percentile``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.expected_ranks()["expected.rank"].round(2).to_list()
        [2.73, 3.67, 4.92, 2.44, 5.82, 1.43]
        """
        from lmm.tables.ranks import expected_ranks

        return expected_ranks(self)

    def coef(self) -> Coefficients:
        """Coefficients by level, fixed plus random effects: a table per grouping factor.

        Random effects without a fixed effect of their name stand first, as in lme4.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.coef()["Subject"].head(2).round(3)
             (Intercept)    Days
        308      253.664  19.666
        309      211.007   1.848
        """
        from lmm.report.random_effects import Coefficients

        fixed = self.fixef()
        tables = {}
        for group, modes in self.ranef().items():
            if not modes.columns.is_unique:  # as in (1 | g) + (x | g): their effects add up
                modes = modes.T.groupby(level=0, sort=False).sum().T
            names = [*modes.columns.difference(fixed.index, sort=False), *fixed.index]
            base = fixed.reindex(names, fill_value=0.0)
            tables[group] = modes.reindex(columns=names, fill_value=0.0) + base
        return Coefficients(tables)

    def re_pca(self) -> PrincipalComponents:
        """Principal components of each grouping factor's random effects (lme4's ``rePCA``).

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.re_pca().to_frame().round(3)
             group  component     sd  proportion  cumulative
        0  Subject          1  0.967       0.946       0.946
        1  Subject          2  0.231       0.054       1.000
        """
        from lmm.report.random_effects import PrincipalComponents

        factors: dict[str, list[Matrix]] = {}
        for term, factor in zip(self.fit.matrices.terms, self.fit.factors, strict=True):
            factors.setdefault(term.group, []).append(factor)
        return PrincipalComponents.of(list(factors), [block_diag(*f) for f in factors.values()])

    @cached_property
    def joint(self) -> JointCovariance:
        """Joint covariance of the errors of fixed and random effects."""
        from lmm.joint import JointCovariance

        return JointCovariance(self.fit)

    def reml_criterion(self) -> float:
        """REML criterion at the optimum.

        Raises
        ------
        ValueError
            The model was fitted by maximum likelihood.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.reml_criterion(), 4)
        319.6543
        """
        check_linear("REML criteria", self)
        if not self.reml:
            raise ValueError("The model was fitted by maximum likelihood: use deviance().")
        return self.optimum.value

    def deviance(self) -> float:
        """Deviance, -2 log-likelihood; for a REML fit, that of its theta.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.deviance(), 4)
        327.4039
        """
        return self.fit.deviance if self.reml else self.optimum.value

    def loglik(self, reml: bool | None = None) -> float:
        """Log-likelihood; for a REML fit the restricted one, as R's logLik.

        Parameters
        ----------
        reml : bool, optional
            Whether to give the restricted one at the estimated covariance parameters, or the full
            one, whatever the model was fitted by.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.loglik(), 4)
        -159.8271
        """
        if reml is None or reml == self.reml:
            return self.fit.loglik
        check_linear("restricted likelihoods", self)
        return -0.5 * self.fit.criterion.with_reml(reml).value(self.optimum.x)

    @property
    def df_resid(self) -> int:
        """Observations minus estimated parameters, as R's df.residual."""
        return self.nobs - self.fit.n_parameters

    def is_singular(self, tol: float = 1e-4) -> bool:
        """Whether a random-effects covariance is singular, whatever the units of the data.

        Parameters
        ----------
        tol : float
            A term is singular if the smallest singular value of its whitened factor lambda* is
            below `tol`: some random effect is less than `tol` times as large as the noise of its
            level's own mean.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.is_singular()
        False
        """
        return self.fit.is_singular(tol)

    def residuals(self, kind: ResidualKind = "response", scaled: bool = False) -> pd.Series[float]:
        """Residuals by row, as R's ``residuals(m, type, scaled)``.

        Parameters
        ----------
        kind : str
            ``"response"`` or ``"working"``, response minus fitted values; ``"deviance"`` or
            ``"pearson"``, these times the square root of the weight; ``"marginal"``, response minus
            the fixed part; ``"normalized"``, that made independent by the Cholesky factor of its
            covariance, in the order of the rows; ``"least-squares"``, what least squares leave in
            each level of the innermost grouping factor alone.
        scaled : bool
            Whether to divide by sigma; normalized residuals have variance 1 as they are.

        Raises
        ------
        ValueError
            The kind is unknown, or exists for linear models only.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.residuals("pearson", scaled=True).head(2).round(3).to_list()
        [0.709, -1.412]
        """
        from lmm.diagnostics.leverage import residuals

        return self._by_row(residuals(self.fit, kind, scaled))

    def level_residuals(self, group: str | None = None) -> pd.DataFrame:
        """Residuals of levels: random effects, and least-squares estimates of each level alone.

        As R's ``HLMdiag::hlm_resid(m, level, include.ls = TRUE)``. The least-squares ones are the
        coefficients of each level's own fit (of predictors that vary within levels) minus their
        means over levels, lme4's ``ranef(lmList(...))``: no covariance of random effects has a part
        in them (Loy & Hofmann, 2014, J. Stat. Softw. 56(5)).

        Parameters
        ----------
        group : str, optional
            The grouping factor, at any level of nesting; the first by default.

        Returns
        -------
        DataFrame
            By level: ``.ranef.`` and ``.ls.`` with the names of the coefficients; NaN where a
            level's rows do not determine one.

        Raises
        ------
        DataError
            The model has no such grouping factor.
        ValueError
            The model is not linear.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.level_residuals("Subject").loc["308"].round(2).to_list()
        [2.26, 9.2, -7.21, 11.3]
        """
        from lmm.tables.level_residuals import level_residuals

        return level_residuals(self, group)
