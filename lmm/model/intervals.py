"""Intervals: profiles, the bootstrap, Wald's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lmm._words import IntervalMethod
from lmm.model.changes import Changes

if TYPE_CHECKING:
    from lmm.formula import Formula
    from lmm.inference.resample.bootstrap import Bootstrap
    from lmm.inference.resample.bootstrap import Interval as BootstrapInterval
    from lmm.inference.resample.schemes import Kind as BootstrapKind
    from lmm.inference.resample.schemes import Scheme
    from lmm.inference.variance.reported import Scale
    from lmm.model.linear import LinearMixedModel
    from lmm.report.printed import PrintedTable
    from lmm.tables.profiles import CriterionProfile, Profile, Which


class Intervals(Changes):
    """Profiles, bootstrap and intervals."""

    def confint(
        self,
        parm: Which = None,
        level: float = 0.95,
        method: IntervalMethod = "profile",
        *,
        nsim: int = 500,
        seed: int | None = None,
        boot_type: BootstrapInterval = "perc",
        progress: bool | None = None,
    ) -> PrintedTable:
        """Confidence intervals of variance parameters, sigma and fixed effects.

        Parameters
        ----------
        parm : str, int or sequence, optional
            Names as in the result, positions from 0, ``"theta_"`` (variance parameters) or
            ``"beta_"`` (fixed effects); all by default.
        level : float
            Confidence level.
        method : {"profile", "wald", "boot"}
            Profile likelihood (maximum likelihood, also for a REML fit, as in R); normal
            approximation, of standard deviations on the log scale and of correlations on Fisher's
            z scale; parametric bootstrap.
        nsim, seed : int
            Replicates of the bootstrap, and its seed.
        boot_type : {"perc", "basic", "norm", "bca", "shortest"}
            Kind of bootstrap interval.
        progress : bool, optional
            Whether to show a bar; by default in a terminal or a notebook, after two seconds.

        Returns
        -------
        PrintedTable
            Two columns, rows in R's order; prints as R's confint.

        Raises
        ------
        ValueError
            A name, the level or the method is not one.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.confint().to_frame().round(2)
                                2.5 %   97.5 %
        sd_(Intercept)|Batch    12.20    84.06
        sigma                   38.23    67.66
        (Intercept)           1486.45  1568.55
        """
        from lmm.tables.profiles import confint

        return confint(
            self.fit,
            parm,
            level,
            method,
            nsim=nsim,
            seed=seed,
            boot_type=boot_type,
            progress=progress,
        )

    def profile(
        self,
        which: Which = None,
        *,
        level: float = 0.95,
        scale: Scale = "sdcor",
        progress: bool | None = None,
    ) -> Profile:
        """Profile likelihood of parameters.

        Parameters
        ----------
        which : str, int or sequence, optional
            As `parm` of `confint`.
        level : float
            Confidence level whose limits are computed exactly.
        scale : {"sdcor", "varcov"}
            Standard deviations and correlations, or variances and covariances.
        progress : bool, optional
            Whether to show a bar; by default in a terminal or a notebook, after two seconds.

        Returns
        -------
        Profile
            With ``confint(level)``, ``to_frame()``, ``log()``, ``variance()`` and plots.

        Warns
        -----
        ConvergenceWarning
            A profile finds a better fit, or is not monotone; also in its `notes`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.profile().confint().to_frame().round(3)
                                 2.5 %    97.5 %
        sd_(Intercept)|Batch    12.197    84.063
        sigma                   38.230    67.658
        (Intercept)           1486.451  1568.549
        """
        from lmm.tables.profiles import profile

        return profile(self.fit, which, level, scale, progress)

    def profile_criterion(
        self, parameter: str, low: float | None = None, high: float | None = None, points: int = 41
    ) -> CriterionProfile:
        """The fitted criterion (REML or ML) along one variance parameter, others re-optimized.

        Parameters
        ----------
        parameter : str
            R's name (``sd_Time|tree``, ``var_Time|tree``, ``cor_...``, ``cov_...``, ``sigma``,
            ``sigma^2``) or statsmodels' (``Time Var``; ``tree Var`` for the intercept;
            ``tree x Time Cov``; ``scale``). The name chooses the scale of `low` and `high`.
        low, high : float, optional
            Range; about the 99 % interval by default.
        points : int
            Number of equally spaced values.

        Returns
        -------
        CriterionProfile
            With ``values``, ``difference`` (-2 log likelihood ratio), ``to_frame()``, ``plot()``.

        Raises
        ------
        ValueError
            The name is unknown, or the range is not one of the parameter's.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.profile_criterion("sigma", 40.0, 60.0, points=3).to_frame().round(3)
           sigma  difference
        0   40.0       2.530
        1   50.0       0.005
        2   60.0       1.566
        """
        from lmm.inference.profile.criterion_curve import criterion_curve
        from lmm.tables.profiles import CriterionProfile

        return CriterionProfile(criterion_curve(self.fit, parameter, low, high, points))

    def bootstrap(
        self,
        nsim: int,
        seed: int | None = None,
        *,
        statistic: Callable[[LinearMixedModel], Any] | None = None,
        kind: BootstrapKind | Scheme = "parametric",
        use_u: bool = False,
        re_form: str | Formula | None = "~0",
        resume: Bootstrap | None = None,
        n_jobs: int | None = 1,
        progress: bool | None = None,
    ) -> Bootstrap:
        """Draw responses or cases, refit, and collect parameters or a statistic of the refits.

        Without a statistic, and for designs with small components, all refits to drawn responses
        advance together as one batched computation. Results depend on the seed, not on the number
        of workers.

        Parameters
        ----------
        nsim : int
            Number of replicates.
        seed : int, optional
            Seed of the random numbers; a fresh one by default.
        statistic : callable, optional
            Function of a refitted model that returns a number, a vector or a Series; by default
            standard deviations, correlations, sigma and fixed effects.
        kind : str or object
            What is drawn: ``"parametric"``, normal effects and residuals;
            ``"semiparametric"``, residuals of the fit (needs `use_u`); ``"residual"``, random
            effects and residuals of the fit, scaled to the estimates; ``"reb"``, blocks of them;
            ``"wild"``, marginal residuals with random signs by cluster; ``"case"``, levels or rows
            with their data. `lmm.REB`, `lmm.Wild` and `lmm.Cases` have options. Generalized models
            know the first and the last.
        use_u : bool
            Whether to hold the random effects at their conditional modes; as ``re_form=None``.
        re_form : str, Formula or None
            Random effects that are held, as for `simulate`: none by default.
        resume : Bootstrap, optional
            What an interrupted or a shorter run with these arguments has finished. Runs with
            different seeds are joined by ``+``.
        n_jobs : int or None
            Workers; -1 for all processors, None for those of ``joblib.parallel_config``.
        progress : bool, optional
            Whether to show a bar; by default in a terminal or a notebook, after two seconds.

        Returns
        -------
        Bootstrap
            With ``to_frame()``, ``confint(level, type)``, ``summary()``, ``to_parquet(path)``. If
            it is interrupted (Ctrl-C), what is finished.

        Raises
        ------
        ValueError
            The kind is unknown, or none for this model; the run to resume is another one.
        DataError
            The model's grouping factors do not allow this kind.

        Warns
        -----
        FailedReplicatesWarning
            The fit or its statistic raised an error in some replicates; ``n_failed`` counts them.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> b = m.bootstrap(1000, seed=1)
        >>> b.to_frame().shape
        (1000, 5)
        >>> b.confint(type="basic").index.tolist()
        ['sd_(Intercept)|Batch', 'sigma', '(Intercept)']
        >>> cases = m.bootstrap(100, seed=1, kind="case")
        >>> (cases + m.bootstrap(100, seed=2, kind="case")).confint(type="shortest").shape
        (3, 2)
        """
        from lmm.inference.resample.bootstrap import bootstrap

        return bootstrap(
            self.fit,
            nsim,
            seed,
            kind=kind,
            use_u=use_u,
            re_form=re_form,
            statistic=statistic,
            model=self,
            resume=resume,
            n_jobs=n_jobs,
            progress=progress,
        )
