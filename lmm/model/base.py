"""What every fitted mixed model holds: its fit as arrays, its call, its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from lmm._types import Vector, frozen_property, read_only
from lmm.criterion import ProfiledCriterion
from lmm.design import DEFAULT_CONTROL
from lmm.errors import LmmWarning, warn
from lmm.fit import Fit, verdict
from lmm.laplace import LaplaceCriterion
from lmm.model.fitted_model import FittedModel
from lmm.optimize import Optimum, Report, minimize, silent
from lmm.request import Request

if TYPE_CHECKING:
    from scipy import sparse


@dataclass(frozen=True, eq=False)
class MixedModel(FittedModel):
    """A fitted mixed model: estimates as arrays, and what was warned of while fitting."""

    fit: Fit
    call: Request
    warnings: tuple[LmmWarning, ...]

    #: What gathers the estimates at an optimum.
    fit_class: ClassVar[Any] = Fit

    @classmethod
    def estimate(
        cls,
        criterion: ProfiledCriterion | LaplaceCriterion,
        call: Request,
        *,
        start: Vector | None = None,
        others: Sequence[Vector] = (),
        report: Report = silent,
    ) -> Self:
        """Minimize a criterion, gather the fit and warn of what is wrong with it.

        Parameters
        ----------
        criterion : ProfiledCriterion or LaplaceCriterion
            What to minimize; its matrices name the formula.
        call : Request
            Data and options, among them the optimizer and the checks.
        start : (m,) array, optional
            Starting theta, lme4's scale.
        others : sequence of (m,) arrays, optional
            Further starts, from which another search is made where the criterion is lower there.
        report : callable, optional
            Called as ``report(count, value, x)`` after each evaluation.
        """
        optimum = minimize(criterion, call.optimizer, start=start, others=others, report=report)
        model = cls.at(criterion, optimum, call)
        for note in model.warnings:
            warn(note)
        return model

    @classmethod
    def at(
        cls,
        criterion: ProfiledCriterion | LaplaceCriterion,
        optimum: Optimum,
        call: Request | None = None,
    ) -> Self:
        """Model at an optimum: the last of the modular steps (lme4's ``mkMerMod``).

        Parameters
        ----------
        criterion : ProfiledCriterion or LaplaceCriterion
            What was minimized.
        optimum : Optimum
            Where it ended, from `lmm.minimize`.
        call : Request, optional
            Data and options; without them the model cannot be updated or saved.

        Examples
        --------
        >>> import lmm
        >>> matrices = lmm.build_matrices("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> criterion = lmm.ProfiledCriterion(matrices)
        >>> m = lmm.LinearMixedModel.at(criterion, lmm.minimize(criterion))
        >>> round(m.sigma, 2)
        49.51
        """
        fit = cls.fit_class.at(criterion.matrices.formula, criterion, optimum)
        call = call or Request(fit.formula, None)
        notes = verdict(fit, call.control or DEFAULT_CONTROL)
        return cls(fit, call, (*criterion.matrices.notes, *notes))

    @property
    def par(self) -> Vector:
        """Covariance parameters (m,); they are `theta` where all terms are full or independent."""
        return self.fit.theta

    @property
    def theta(self) -> Vector:
        """lme4's theta: the entries of the relative covariance factors, column by column."""
        return read_only(self.fit.matrices.parameters.theta(self.fit.theta))

    @property
    def u(self) -> Vector:
        """Spherical random effects, (q,)."""
        return self.fit.u

    @property
    def b(self) -> Vector:
        """Random effects (q,), term by term and level by level."""
        return np.concatenate([effect.ravel() for effect in self.fit.b])

    @property
    def Zt(self) -> sparse.csc_array:
        """Transposed random-effects model matrix, (q, n) sparse."""
        return self.fit.matrices.Zt

    @property
    def Z(self) -> sparse.csr_array:
        """Random-effects model matrix, (n, q) sparse."""
        return self.Zt.T

    @frozen_property
    def Lambdat(self) -> sparse.csc_array:
        """Transposed relative covariance factor, (q, q) sparse upper triangular."""
        return self.fit.matrices.Lambdat(self.fit.theta)

    @property
    def Lambda(self) -> sparse.csr_array:
        """Relative covariance factor, (q, q) sparse lower triangular."""
        return self.Lambdat.T

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor, lme4's order."""
        return self.fit.matrices.ngroups

    @property
    def flist(self) -> dict[str, pd.Categorical]:
        """Grouping factors as used, (n,) each."""
        return self.fit.matrices.flist

    @property
    def optimum(self) -> Optimum:
        """How the optimization ended, with its certificate."""
        return self.fit.optimum

    @property
    def converged(self) -> bool:
        """Whether a verified optimum was reached."""
        return self.fit.converged
