"""A generalized model without random effects per level: ``lmList(..., family = )``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lmm._types import Vector, cached_property
from lmm.design.codes import rows_by_level
from lmm.design.matrices import ModelMatrices
from lmm.errors import ConvergenceWarning, DataError, NumericalError, nearest, warn
from lmm.family import Family
from lmm.plain_fit import ScoredFit
from lmm.report.printed import PrintedTables
from lmm.request import Request
from lmm.tables.deviances import profile_limits
from lmm.tables.lmlist import LmList

KINDS = ("deviance", "pearson", "working", "response")


@dataclass(frozen=True, eq=False, repr=False)
class GlmList(LmList):
    """Separate generalized models, one per level.

    What it has beyond `LmList` is the families'. Pooled is the root of the dispersion by deviances,
    as in lme4: `rss` holds these, `unscaled` the variances of the coefficients without it.

    Attributes
    ----------
    fits : tuple of ScoredFit or None
        The models; None where there is none.
    """

    fits: tuple[ScoredFit | None, ...] = ()

    @classmethod
    def of(cls, call: Request, text: str) -> Self:
        """Fit a model with one random intercept level by level; `text` is what it is called.

        Warns
        -----
        ConvergenceWarning
            Some levels have no model, or probabilities of 0 or 1: their coefficients have no
            finite values.
        """
        matrices, family = call.build(), call.conditional
        assert family is not None
        (term,) = matrices.terms
        parts = [_scored(matrices.at_rows(rows), family) for rows in rows_by_level(term.codes)]
        names = matrices.fixed.names
        estimates, unscaled = np.full((2, len(parts), len(names)), np.nan)
        for i, (fit, _) in enumerate(parts):
            if fit is not None:
                own = [names.index(name) for name in fit.matrices.fixed.names]
                estimates[i, own] = fit.beta
                unscaled[i, own] = np.einsum("ij,ij->i", fit.fixed_root, fit.fixed_root)
        troubled = [
            str(level) for level, (_, fine) in zip(term.levels, parts, strict=True) if not fine
        ]
        if troubled:
            warn(ConvergenceWarning(_without_maximum(term.group, troubled)))
        fits = tuple(fit for fit, _ in parts)
        rss = np.array([np.nan if fit is None else fit.deviance for fit in fits])
        df = np.array([np.nan if fit is None else float(fit.df_resid) for fit in fits])
        about = (text, call.data_name, term.levels, names)
        return cls(*about, estimates, unscaled, rss, df, matrices, call, fits)

    @property
    def family(self) -> Family:
        """Distribution of the response as it was asked for."""
        family = self.call.conditional
        assert family is not None
        return family

    @property
    def has_sigma(self) -> bool:
        """Whether the family has a dispersion."""
        return self.family.has_scale

    @cached_property
    def sigmas(self) -> pd.Series[float]:
        """Root of each level's own dispersion, Pearson's; 1 where the family has none."""
        values = [np.nan if fit is None else fit.sigma for fit in self.fits]
        return pd.Series(values, index=self.levels)

    def loglik(self) -> float:
        """Sum of the log-likelihoods; NaN where a level has no model."""
        return float(np.sum([np.nan if fit is None else fit.loglik for fit in self.fits]))

    def fitted(self) -> pd.Series[float]:
        """Means by row, each by its level's model."""
        return self.matrices.frame.by_row(self.family.inverse(self._fitted()))

    def residuals(self, kind: str = "deviance") -> pd.Series[float]:
        """Residuals by row: ``"deviance"``, ``"pearson"``, ``"working"`` or ``"response"``.

        Raises
        ------
        ValueError
            The kind is another word.
        """
        if kind not in KINDS:
            raise ValueError(f"Unknown kind of residuals {kind!r}.{nearest(kind, KINDS)}")
        values = np.full(self.matrices.n, np.nan)
        levels = rows_by_level(self.matrices.terms[0].codes)
        for fit, rows in zip(self.fits, levels, strict=True):
            if fit is not None:
                values[rows] = fit.residuals_of(kind)
        return self.matrices.frame.by_row(values)

    def _fitted(self) -> Vector:
        missing = np.array([fit is None for fit in self.fits])[self.matrices.terms[0].codes]
        return np.where(missing, np.nan, super()._fitted())

    def predict(self, newdata: Any = None, *, type: str = "link") -> pd.Series[float]:
        """Linear predictors of the rows or of new ones of known levels, or means.

        Parameters
        ----------
        newdata : table, optional
            As for linear models.
        type : {"link", "response"}
            The linear predictor, as R's default, or the mean.

        Raises
        ------
        DataError
            A column is missing, or a level was not fitted.
        ValueError
            The type is another word.
        """
        if type not in ("link", "response"):
            raise ValueError(f"type must be 'link' or 'response', not {type!r}.")
        if newdata is None:
            linear = self.matrices.frame.by_row(self._fitted())
        else:
            linear = self._linear_of(newdata)
        if type == "link":
            return linear
        return pd.Series(self.family.inverse(linear.to_numpy()), index=linear.index)

    def confint(self, level: float = 0.95, pooled: bool = False) -> PrintedTables:
        """Confidence intervals, a table per coefficient.

        Parameters
        ----------
        level : float
            Coverage.
        pooled : bool
            Wald's, with the pooled dispersion and its degrees of freedom, normal where there is
            none; by default the profile likelihood of each level's model, as in lme4.
        """
        if pooled:
            return super().confint(level, pooled)
        limits = np.full((*self.estimates.shape, 2), np.nan)
        for i, fit in enumerate(self.fits):
            if fit is not None:
                own = [self.names.index(name) for name in fit.matrices.fixed.names]
                found = profile_limits(fit, range(len(own)), level)
                limits[i, own] = found.to_frame().to_numpy()
        return self._intervals(limits, level)

    @property
    def _arguments(self) -> tuple[str, ...]:
        usual = self.family.link == type(self.family)().link
        name = self.family.name if usual else f"{self.family.name}({self.family.link})"
        return (*super()._arguments, f"family = {name}")


def _scored(matrices: ModelMatrices, family: Family) -> tuple[ScoredFit | None, bool]:
    """A level's model, if there is one, and whether its coefficients are finite."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fit = ScoredFit.of(matrices, family)
    except (DataError, NumericalError, np.linalg.LinAlgError):
        return None, False
    return fit, not told


def _without_maximum(group: str, levels: Sequence[str]) -> str:
    shown = ", ".join(levels[:6]) + (", ..." if len(levels) > 6 else "")
    return (
        f"{len(levels)} levels of {group} have no finite coefficients ({shown}): a predictor "
        "separates their responses, or they are all alike."
    )
