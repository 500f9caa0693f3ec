"""Predictions drawn from their distribution, part by part, as R's merTools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix, Vector
from lmm.design.matrices import ReTerm
from lmm.design.rows import Rows, fitted_rows, index_of, new_rows, select
from lmm.errors import checked_level
from lmm.fit import Fit
from lmm.joint import JointCovariance
from lmm.predict import Levels, checked_levels
from lmm.report.document import Document
from lmm.report.printed import TableLike
from lmm.report.tables import frame_cells


@dataclass(frozen=True, eq=False, repr=False)
class PredictionDraws(TableLike):
    """Drawn predictions and their parts. Made by ``m.predict_draws()``.

    Attributes
    ----------
    index : Index
        Labels of the rows.
    draws : dict of str to (m, nsim) array
        ``combined``, each grouping factor, ``fixed``: parts add up to what is combined, but for the
        residuals that it may have.
    """

    index: pd.Index
    draws: Mapping[str, Matrix]

    @property
    def nsim(self) -> int:
        """Number of draws."""
        return int(self.draws["combined"].shape[1])

    def to_frame(self, level: float = 0.8, statistic: str = "median") -> pd.DataFrame:
        """One table of all parts: ``effect obs fit lwr upr``.

        Parameters
        ----------
        level : float
            Share of the draws between the limits; as many lie below as above.
        statistic : {"median", "mean"}
            What the column ``fit`` is.

        Raises
        ------
        ValueError
            The level is not between 0 and 1, or the statistic is another word.
        """
        checked_level(level)
        if statistic not in ("median", "mean"):
            raise ValueError(f"statistic must be 'median' or 'mean', not {statistic!r}.")
        parts = []
        for effect, values in self.draws.items():
            lower, upper = np.quantile(values, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=1)
            fit = np.median(values, axis=1) if statistic == "median" else values.mean(axis=1)
            columns = {"effect": effect, "obs": self.index, "fit": fit, "lwr": lower, "upr": upper}
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def document(self, *, digits: int = 5) -> Document:
        """The table with limits of 80 %."""
        head = f"Predictions by {self.nsim} draws, limits of 80 % between lwr and upr"
        return Document((head, frame_cells(self.to_frame(), digits)))


def prediction_draws(
    joint: JointCovariance,
    newdata: Any = None,
    nsim: int = 1000,
    seed: int | np.random.Generator | None = None,
    *,
    allow_new_levels: Levels = False,
    residual: bool = True,
    offset: Vector | None = None,
    weights: Vector | None = None,
) -> PredictionDraws:
    """Draw linear predictors of rows, given the response at the estimated theta.

    Fixed and random effects are drawn jointly, with the covariance of their errors; those of a
    level that is not known from the population, the same for all its rows. The residual standard
    deviation is drawn too, and all errors with it.

    Arguments and errors as for `LinearMixedModel.predict_draws`; `offset` (m,), beside the
    formula's offsets, and `weights` (m,) are those of new rows, zeros and ones by default.
    """
    if isinstance(nsim, bool) or not isinstance(nsim, int | np.integer) or nsim < 1:
        raise ValueError(f"nsim must be a whole number, at least 1, not {nsim!r}.")
    fit, rng = joint.fit, np.random.default_rng(seed)
    matrices = fit.matrices
    if newdata is None:
        rows, index = fitted_rows(matrices), matrices.frame.used
    else:
        allowed = checked_levels(allow_new_levels)
        rows = new_rows(matrices, newdata, select(matrices, None), allowed, offset, weights)
        index = index_of(newdata, rows.m)
    scale = _scales(fit, rng, nsim)
    beta, effects = joint.draws(rng, nsim)
    fixed = rows.fixed_part(fit.beta)[:, None] + scale * (rows.X @ beta)
    parts = {}
    for g, group in enumerate(fit.problem.groups):
        terms = [i for i, _ in group.members]
        levels = _levels(matrices.terms[terms[0]], rows.codes[terms[0]], newdata)
        part = _random_part(fit, rows, terms, effects[g], levels, scale, rng)
        if allow_new_levels == "missing":
            part[levels >= len(effects[g])] = np.nan
        parts[matrices.terms[terms[0]].group] = part
    combined = fixed + np.sum(list(parts.values()), axis=0)
    if residual and fit.family.is_gaussian_identity:
        noise = fit.sigma * scale / np.sqrt(rows.weights)[:, None]
        combined = combined + noise * rng.standard_normal(combined.shape)
    return PredictionDraws(index, {"combined": combined, **parts, "fixed": fixed})


def _scales(fit: Fit, rng: np.random.Generator, nsim: int) -> Vector:
    """Drawn sigma over its estimate, (nsim,): by a linear model's chi-square, else 1."""
    if fit.size_name != "sigma" or not fit.family.is_gaussian_identity:
        return np.ones(nsim)
    df = fit.criterion.degrees_of_freedom
    return np.asarray(np.sqrt(df / rng.chisquare(df, nsim)))


def _levels(term: ReTerm, codes: IntVector | None, newdata: Any) -> IntVector:
    """Level of each row, (m,): the model's, then new ones by label; each missing one for itself."""
    assert codes is not None
    unknown = np.flatnonzero(codes < 0)
    if not len(unknown):
        return codes
    labels, levels = term.labels_for(newdata)[unknown], codes.copy()
    missing = pd.isna(labels)
    own = [
        (i,) if gone else label for i, (label, gone) in enumerate(zip(labels, missing, strict=True))
    ]
    levels[unknown] = term.n_levels + pd.factorize(np.array([*own, None], dtype=object)[:-1])[0]
    return levels


def _random_part(
    fit: Fit,
    rows: Rows,
    terms: list[int],
    errors: Matrix,
    levels: IntVector,
    scale: Vector,
    rng: np.random.Generator,
) -> Matrix:
    """``z'b`` of a group's terms with drawn errors (l, k, nsim), (m, nsim)."""
    shown, left = rows.interpolated(fit.matrices, fit.theta)
    total, at = np.zeros((rows.m, len(scale))), 0
    n_new = max(0, int(levels.max(initial=-1)) + 1 - len(errors))
    for i in terms:
        Z, b, factor = shown.Z[i], fit.b[i], fit.sigma * fit.factors[i]
        assert Z is not None
        own = b[:, :, None] + scale * errors[:, at : at + b.shape[1]]
        new = factor @ rng.standard_normal((n_new, factor.shape[1], len(scale)))
        total += np.einsum("ma,mas->ms", Z, np.concatenate([own, scale * new])[levels])
        untold = left[i]
        if untold is not None:
            noise = fit.sigma * np.sqrt(untold)[:, None] * scale
            total += noise * rng.standard_normal(total.shape)
        at += b.shape[1]
    return total
