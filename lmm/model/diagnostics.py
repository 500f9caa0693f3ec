"""Diagnostics of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmm.model.tests import ModelTests

if TYPE_CHECKING:
    from lmm.diagnostics.convergence import ConvergenceCheck
    from lmm.diagnostics.influence import Influence
    from lmm.diagnostics.simulated import SimulatedResiduals
    from lmm.formula import Formula
    from lmm.optimize import Optimizer
    from lmm.tables.all_fit import AllFit


class Diagnostics(ModelTests):
    """Leverage, influence, convergence, plots."""

    def hatvalues(self, parts: bool = False) -> pd.Series[float] | pd.DataFrame:
        """Leverages by row: the diagonal of the matrix that turns y into fitted values.

        Parameters
        ----------
        parts : bool
            Whether to give a table ``overall fixef ranef`` instead: what fixed effects have part
            in, and what random effects add (Nobre & Singer, 2011).

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.hatvalues().head(2).round(4).to_list()
        [0.1638, 0.1638]
        """
        from lmm.diagnostics.leverage import fixed_leverages, leverages

        whole = leverages(self.joint)
        if not parts:
            return self._by_row(whole)
        fixed = fixed_leverages(self.joint)
        columns = {"overall": whole, "fixef": fixed, "ranef": whole - fixed}
        return pd.DataFrame({name: self._by_row(values) for name, values in columns.items()})

    def rstudent(self) -> pd.Series[float]:
        """Standardized residuals by row, ``r / (sigma sqrt(1 - h))``, as lme4's ``rstudent``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.rstudent().head(2).round(4).to_list()
        [0.7754, -1.5437]
        """
        from lmm.diagnostics.leverage import leverages, standardized_residuals

        return self._by_row(standardized_residuals(self.fit, leverages(self.joint)))

    def cooks_distance(self) -> pd.Series[float]:
        """Cook's distance by row at the estimated theta; `influence` refits instead.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.cooks_distance().head(2).round(4).to_list()
        [0.1177, 0.4667]
        """
        from lmm.diagnostics.leverage import cooks_distance, leverages

        return self._by_row(cooks_distance(self.fit, leverages(self.joint)))

    def influence(
        self,
        groups: str | None = None,
        sets: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
        *,
        effects: bool = False,
        n_jobs: int | None = 1,
        progress: bool | None = None,
    ) -> Influence:
        """Refit without each observation, or without each level of a grouping factor.

        Parameters
        ----------
        groups : str, optional
            Grouping factor of the model; observations one by one if not given.
        sets : sequence or mapping, optional
            Levels (or labels of rows) to delete one after the other, such as ``["308", "370"]``;
            or lists that are deleted together, by name. All by default.
        effects : bool
            Whether to keep the random effects of each refit, as ``.effects_without``.
        n_jobs, progress
            As for `bootstrap`.

        Returns
        -------
        Influence
            With ``dfbeta() dfbetas() cooks_distance() mdffits() covratio() covtrace()
            relative_variance_change() to_frame()``.

        Raises
        ------
        DataError
            The model has no such grouping factor, level or row, or a deletion would leave a
            grouping factor with a single level.

        Notes
        -----
        Each deletion is a fit. Where rows are many, `cooks_distance`, which refits nothing, can say
        which of them to name in `sets`: it measures fitted values at the estimated covariances,
        that of the result the fixed effects.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.influence("Subject").cooks_distance().head(3).round(4).to_list())
        [0.0821, 0.132, 0.0982]
        >>> both = m.influence("Subject", {"extremes": ["308", "337"]})
        >>> both.covratio().round(3).to_dict()
        {'extremes': 0.931}
        """
        from lmm.diagnostics.influence import influence

        return influence(self.fit, groups, sets, effects=effects, n_jobs=n_jobs, progress=progress)

    def simulated_residuals(
        self,
        nsim: int = 250,
        seed: int | np.random.Generator | None = None,
        re_form: str | Formula | None = "~0",
    ) -> SimulatedResiduals:
        """Quantile residuals by simulation, with tests of them, as R's DHARMa.

        Parameters
        ----------
        nsim : int
            Number of simulated responses.
        seed : int or numpy.random.Generator, optional
            Where the random numbers come from.
        re_form : str, Formula or None
            Random effects that are held; all are drawn anew by default.

        Returns
        -------
        SimulatedResiduals
            With ``values uniformity() dispersion() outlier_test() zero_inflation()
            temporal_autocorrelation(time) statistic_test(f) grouped(groups)``;
            `lmm.plots.check_simulated` draws them.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> residuals = m.simulated_residuals(seed=1)
        >>> residuals.values.shape, len(residuals.to_frame())
        ((180,), 3)
        """
        from lmm.diagnostics.simulated import simulated_residuals

        return simulated_residuals(self.fit, nsim, seed, re_form, self.call.table)

    def check_convergence(
        self, gradient_tol: float = 2e-3, singular_tol: float = 1e-4, hessian_tol: float = 1e-6
    ) -> ConvergenceCheck:
        """Check gradient, Hessian and singularity; true if converged, with lme4's messages.

        Parameters
        ----------
        gradient_tol : float
            Largest scaled gradient that passes.
        singular_tol : float
            As `tol` of `is_singular`.
        hessian_tol : float
            Smallest eigenvalue of the Hessian, relative to the largest, that passes.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.check_convergence())
        converged
        """
        from lmm.diagnostics.convergence import check_convergence

        return check_convergence(self.fit, gradient_tol, singular_tol, hessian_tol)

    def all_fit(
        self, optimizers: Iterable[str | Optimizer] | None = None, *, progress: bool | None = None
    ) -> AllFit:
        """Fit with every optimizer (or those given), from the default start, to compare them.

        Parameters
        ----------
        optimizers : iterable of str or Optimizer, optional
            Names or objects, as for `lmm.lmer`.
        progress : bool, optional
            Whether to show a bar; by default in a terminal or a notebook, after two seconds.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> list(m.all_fit().fits)
        ['Fisher scoring', 'L-BFGS-B', 'COBYQA', 'Nelder-Mead']
        """
        from lmm.diagnostics.attempts import fit_with_each
        from lmm.tables.all_fit import AllFit

        attempts = fit_with_each(self.fit, optimizers, progress=progress)
        return AllFit(str(self.formula), self.call.data_name, attempts)
