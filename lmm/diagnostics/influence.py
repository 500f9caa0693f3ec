"""Influence by deletion: the model refitted without each observation or each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lmm._progress import watched
from lmm._types import Frozen, IntVector, Matrix, Vector
from lmm._workers import calls
from lmm.design.codes import rows_by_level
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, nearest
from lmm.fit import Fit
from lmm.inference.variance.reported import VarianceParameter, parameters_of, values_of
from lmm.report.document import Document
from lmm.report.printed import Pictured
from lmm.report.tables import frame_cells

WHICH = ("fixed", "varcorr")


@dataclass(frozen=True, eq=False, repr=False)
class Influence(Pictured, Frozen):
    """Estimates without each of g cases or groups, beside those of the whole data.

    Prints, and behaves as, the table of `to_frame`.

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
    effects_without : DataFrame (g, q) or None
        Random effects, where they were asked for, by ``(group, level, term)``; NaN for levels that
        are deleted.
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
    effects_without: pd.DataFrame | None = None

    picture: ClassVar[str] = "influence"

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

    def mdffits(self) -> pd.Series[float]:
        """Squared change of the fixed effects, measured by their covariance without the group.

        ``d' vcov_(g)^-1 d / p`` (Belsley, Kuh & Welsch, 1980), (g,); NaN as for `cooks_distance`.
        """
        change = self.fixef_without - self.fixef
        p = change.shape[1]
        if p == 0:
            return pd.Series(np.nan, index=self.deleted)
        solved = np.linalg.solve(self.vcov_without, change[:, :, None])[:, :, 0]
        return pd.Series(np.einsum("gj,gj->g", change, solved) / p, index=self.deleted)

    def covratio(self) -> pd.Series[float]:
        """Determinant of the fixed effects' covariance without each group over that of all; (g,).

        Above 1 where the group makes estimates more precise.
        """
        whole = np.linalg.slogdet(self.vcov).logabsdet
        without = np.array([np.linalg.slogdet(V).logabsdet for V in self.vcov_without])
        return pd.Series(np.exp(without - whole), index=self.deleted)

    def covtrace(self) -> pd.Series[float]:
        """``|tr(vcov^-1 vcov_(g)) - p|``: 0 where a group does not change the precision; (g,)."""
        p = len(self.names)
        ratios = [np.trace(np.linalg.solve(self.vcov, V)) for V in self.vcov_without]
        return pd.Series(np.abs(np.array(ratios) - p), index=self.deleted)

    def relative_variance_change(self) -> pd.DataFrame:
        """Variance components without each group over those of the whole data, minus 1; (g, K).

        Dillane (2005), cited by Loy & Hofmann (2014), J. Stat. Softw. 56(5), section 5. A component
        that is zero in the whole data has no relative change.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            change = self.components_without / self.components - 1.0
        return self._table(np.where(np.isfinite(change), change, np.nan), self.component_names)

    def to_frame(self) -> pd.DataFrame:
        """One row per deletion: Cook's distance, fixed effects and components without it."""
        distance = self.cooks_distance().rename("cooks_distance")
        fixed = self._table(self.fixef_without, self.names)
        components = self._table(self.components_without, self.component_names)
        return pd.concat([distance, fixed, components], axis=1)

    def document(self, *, digits: int = 4) -> Document:
        """What was deleted, and the table."""
        what = "row" if self.groups == "case" else f"level of {self.groups}"
        head = f"Estimates without each {what}: {len(self.deleted)} deletions"
        return Document((head, frame_cells(self.to_frame(), digits)))

    def _table(self, values: Matrix, columns: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.deleted, columns=pd.Index(columns))


def _check_which(which: str) -> None:
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}, not {which!r}.")


Sets = Sequence[Any] | Mapping[str, Sequence[Any]]
"""What to delete: one after the other, or together under a name."""


def influence(
    fit: Fit,
    groups: str | None = None,
    sets: Sets | None = None,
    *,
    effects: bool = False,
    n_jobs: int | None = 1,
    progress: bool | None = None,
) -> Influence:
    """Refit a model without each observation, or without each level of a grouping factor.

    Every refit is exact. It starts at the whole data's theta, so that it takes few evaluations.

    Arguments and errors as for `LinearMixedModel.influence`.
    """
    matrices = fit.matrices
    gone, labels = _deletions(matrices, groups, sets)
    _check_levels_left(matrices, gone)
    every = np.arange(matrices.n)
    left = [np.delete(every, rows) for rows in gone]
    refits = calls(partial(_without, fit), left, n_jobs=n_jobs)
    without = list(watched(refits, "fit", progress, len(left)))
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
        effects_without=_effects(fit, without, labels) if effects else None,
    )


def _deletions(
    matrices: ModelMatrices, groups: str | None, sets: Sets | None
) -> tuple[list[IntVector], pd.Index[Any]]:
    """Rows of each deletion, and the deletions' labels."""
    codes, labels = _units(matrices, groups)
    rows = rows_by_level(codes, len(labels))
    if sets is None:
        return rows, labels
    if isinstance(sets, str):
        raise ValueError(f"sets is a list of labels, or lists by name, not {sets!r}.")
    named = sets.items() if isinstance(sets, Mapping) else [(unit, [unit]) for unit in sets]
    positions = [_positions(labels, units, groups) for _, units in named]
    names = pd.Index([name for name, _ in named])
    return [np.concatenate([rows[i] for i in own]) for own in positions], names


def _units(matrices: ModelMatrices, groups: str | None) -> tuple[IntVector, pd.Index[Any]]:
    """Which unit each row belongs to (n,), and the units' labels."""
    if groups is None:
        frame = matrices.frame
        rows = pd.Index(frame.rows) if frame.index is None else frame.index[frame.rows]
        return np.arange(matrices.n), rows
    for term in matrices.terms:
        if term.group == groups:
            return term.codes, pd.Index(term.levels)
    known = dict.fromkeys(term.group for term in matrices.terms)
    raise DataError(f"the model has no grouping factor {groups!r}.{nearest(groups, known)}")


def _positions(labels: pd.Index[Any], units: Sequence[Any], groups: str | None) -> IntVector:
    """Where units stand among the labels."""
    if isinstance(units, str) or not len(units):
        raise ValueError(f"a set to delete is a list of labels that is not empty, not {units!r}.")
    texts = [str(unit) for unit in units]
    found = pd.Index(labels.astype(str)).get_indexer_for(texts)
    if (found < 0).any():
        missing = texts[int(np.argmax(found < 0))]
        of = "the rows of the fit" if groups is None else f"the levels of {groups!r}"
        raise DataError(f"{missing!r} is not among {of}.{nearest(missing, map(str, labels))}")
    return np.unique(found)


def _check_levels_left(matrices: ModelMatrices, gone: Sequence[IntVector]) -> None:
    """Refuse deletions after which a grouping factor has a single level."""
    for term in matrices.terms:
        counts = np.bincount(term.codes, minlength=term.n_levels)
        for rows in gone:
            left = int((counts > np.bincount(term.codes[rows], minlength=term.n_levels)).sum())
            if left < 2:
                raise DataError(
                    f"deleting a group would leave {left} of the {term.n_levels} levels of "
                    f"{term.group!r}: a grouping factor needs at least 2. Delete by another "
                    "factor, or case by case with groups=None."
                )


def _without(fit: Fit, rows: IntVector) -> Fit:
    return fit.refitted(fit.matrices.at_rows(rows))


def _effects(fit: Fit, others: Sequence[Fit], deleted: pd.Index[Any]) -> pd.DataFrame:
    """Random effects (g, q) of refits, in the order of the whole fit's."""
    blocks, columns = [], []
    for i, term in enumerate(fit.matrices.terms):
        values = np.full((len(others), term.n_levels, term.size), np.nan)
        for g, other in enumerate(others):
            places = pd.Index(term.levels).get_indexer(pd.Index(other.matrices.terms[i].levels))
            values[g, places] = other.b[i]
        blocks.append(values.reshape(len(others), -1))
        columns += [(term.group, level, name) for level in term.levels for name in term.columns]
    names = pd.MultiIndex.from_tuples(columns, names=["group", "level", "term"])
    return pd.DataFrame(np.hstack(blocks), index=deleted, columns=names)


def _component_parameters(fit: Fit) -> list[VarianceParameter]:
    """Residual variance or theta, if there is one, then those of the random effects."""
    return sorted(parameters_of(fit, "varcov"), key=lambda parameter: parameter.term >= 0)


def _components(fit: Fit) -> Vector:
    """Values of the components, (K,)."""
    return values_of(fit, _component_parameters(fit))
