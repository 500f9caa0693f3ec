"""Influence by deletion: the model refitted without each observation or each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm._brief import Brief
from lmm._types import Frozen, IntVector, Matrix, Vector
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, nearest
from lmm.fit import Fit
from lmm.inference.variance.parameters import VarianceParameter, parameters_of
from lmm.optimize import minimize

__all__ = ["Influence", "influence"]

WHICH = ("fixed", "varcorr")


@dataclass(frozen=True, eq=False, repr=False)
class Influence(Brief, Frozen):
    """Estimates without each of g cases or groups, beside those of the whole data.

    Attributes
    ----------
    groups : str
        What was deleted: ``"case"``, or the name of a grouping factor.
    deleted : (g,) Index
        Label of each deletion.
    names : tuple of str
        Names of the p fixed effects.
    component_names : tuple of str
        Names of the K variance components.
    fixef, fixef_without : (p,) and (g, p) arrays
        Fixed effects; NaN where a deletion leaves one without data.
    vcov, vcov_without : (p, p) and (g, p, p) arrays
        Their covariance matrices.
    components, components_without : (K,) and (g, K) arrays
        Residual variance (or theta), then variances and covariances of the random effects.
    converged : (g,) bool array
        Whether each refit reached a verified optimum.
    n_evaluations : (g,) int array
        Evaluations of the criterion of each refit.
    """

    groups: str
    deleted: pd.Index[Any]
    names: tuple[str, ...]
    component_names: tuple[str, ...]
    fixef: Vector
    fixef_without: Matrix
    vcov: Matrix
    vcov_without: Matrix
    components: Vector
    components_without: Matrix
    converged: np.ndarray
    n_evaluations: IntVector

    def dfbeta(self, which: str = "fixed") -> pd.DataFrame:
        """Change of each estimate when a group is left out: estimate without it minus estimate.

        Parameters
        ----------
        which : {"fixed", "varcorr"}
            Fixed effects, or variance components.

        Returns
        -------
        DataFrame (g, p) or (g, K)
        """
        _check_which(which)
        if which == "fixed":
            return self._table(self.fixef_without - self.fixef, self.names)
        return self._table(self.components_without - self.components, self.component_names)

    def dfbetas(self) -> pd.DataFrame:
        """Change of each fixed effect over its standard error without the group, (g, p).

        Belsley, Kuh & Welsch (1980), Regression Diagnostics, chapter 2.
        """
        errors = np.sqrt(np.einsum("gjj->gj", self.vcov_without))
        return self._table((self.fixef_without - self.fixef) / errors, self.names)

    def cooks_distance(self) -> pd.Series[float]:
        """Squared change of the fixed effects, measured by their covariance; (g,).

        ``D = (g - p) / g * d' vcov^-1 d / p`` with the covariance matrix of the whole data: Cook
        (1977), Technometrics 19, 15-18, with lme4's factor for the number g of deletions, which is
        left out where it would not be positive. NaN where a deletion leaves a fixed effect without
        data, and without fixed effects.
        """
        change = self.fixef_without - self.fixef
        g, p = change.shape
        if p == 0:
            return pd.Series(np.nan, index=self.deleted)
        solved = np.linalg.solve(self.vcov, change.T).T
        factor = (g - p) / g if g > p else 1.0
        distance = factor * np.einsum("gj,gj->g", change, solved) / p
        return pd.Series(distance, index=self.deleted)

    def to_frame(self) -> pd.DataFrame:
        """One row per deletion: Cook's distance, fixed effects and components without it."""
        distance = self.cooks_distance().rename("cooks_distance")
        fixed = self._table(self.fixef_without, self.names)
        components = self._table(self.components_without, self.component_names)
        return pd.concat([distance, fixed, components], axis=1)

    def _table(self, values: Matrix, columns: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.deleted, columns=pd.Index(columns))


def _check_which(which: str) -> None:
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, not {which!r}.")


def influence(fit: Fit, groups: str | None = None) -> Influence:
    """Refit a model without each observation, or without each level of a grouping factor.

    Every refit is exact. It starts at the whole data's theta, so that it takes few evaluations.

    Parameters
    ----------
    fit : Fit
        The model.
    groups : str, optional
        A grouping factor of the model; observations one by one if not given.

    Raises
    ------
    DataError
        The model has no such grouping factor, or a deletion would leave a grouping factor with a
        single level.
    """
    matrices = fit.matrices
    codes, labels = _deletions(matrices, groups)
    _check_levels_left(matrices, codes, len(labels))
    without = [_refit(fit, np.flatnonzero(codes != g)) for g in range(len(labels))]
    names = matrices.fixed.names
    fixef = np.full((len(labels), len(names)), np.nan)
    vcov = np.full((len(labels), len(names), len(names)), np.nan)
    for g, other in enumerate(without):
        kept = [names.index(name) for name in other.matrices.fixed.names]
        fixef[g, kept] = other.beta
        vcov[g][np.ix_(kept, kept)] = other.vcov
    return Influence(
        groups="case" if groups is None else groups,
        deleted=labels,
        names=names,
        component_names=tuple(parameter.name for parameter in _component_parameters(fit)),
        fixef=fit.beta,
        fixef_without=fixef,
        vcov=fit.vcov,
        vcov_without=vcov,
        components=_components(fit),
        components_without=np.array([_components(other) for other in without]),
        converged=np.array([other.optimum.converged for other in without]),
        n_evaluations=np.array([other.optimum.n_evaluations for other in without]),
    )


def _deletions(matrices: ModelMatrices, groups: str | None) -> tuple[IntVector, pd.Index[Any]]:
    """Which deletion each row belongs to (n,), and the deletions' labels."""
    if groups is None:
        frame = matrices.frame
        rows = pd.Index(frame.rows) if frame.index is None else frame.index[frame.rows]
        return np.arange(matrices.n), rows
    for term in matrices.terms:
        if term.group == groups:
            return term.codes, pd.Index(term.levels)
    known = dict.fromkeys(term.group for term in matrices.terms)
    raise DataError(f"the model has no grouping factor {groups!r}.{nearest(groups, known)}")


def _check_levels_left(matrices: ModelMatrices, codes: IntVector, n_deletions: int) -> None:
    """Refuse deletions after which a grouping factor has a single level."""
    for term in matrices.terms:
        pairs = np.unique(np.column_stack([term.codes, codes]), axis=0)
        owners = np.bincount(pairs[:, 0], minlength=term.n_levels)
        # A level vanishes with a deletion that owns all of its rows.
        lost = np.bincount(pairs[owners[pairs[:, 0]] == 1, 1], minlength=n_deletions)
        left = term.n_levels - int(lost.max())
        if left < 2:
            raise DataError(
                f"deleting a group would leave {left} of the {term.n_levels} levels of "
                f"{term.group!r}: a grouping factor needs at least 2. Delete by another factor, "
                "or case by case with groups=None."
            )


def _refit(fit: Fit, rows: IntVector) -> Fit:
    """The model on some of its rows, from the fitted theta."""
    criterion = fit.criterion.on(fit.matrices.at_rows(rows))
    start = fit.start_for(criterion)
    return type(fit).at(fit.formula, criterion, minimize(criterion, start=start))


def _component_parameters(fit: Fit) -> list[VarianceParameter]:
    """Residual variance or theta, if there is one, then those of the random effects."""
    return sorted(parameters_of(fit, "varcov"), key=lambda parameter: parameter.term >= 0)


def _components(fit: Fit) -> Vector:
    """Values of the components, (K,)."""
    return np.array([p.value(fit.covariances, fit.size) for p in _component_parameters(fit)])
