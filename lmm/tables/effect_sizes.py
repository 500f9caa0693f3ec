"""Effect sizes of a model, as R's performance and insight packages print them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, TypeVar

import numpy as np
import pandas as pd

from lmm.errors import checked_level
from lmm.fit import Fit, check_fitted, check_models
from lmm.fitted import Fitted, ReportedModel, TabulatedModel
from lmm.inference.variance.lrt import check_comparable
from lmm.inference.variance.parts import (
    VarianceParts,
    has_latent_variance,
    variance_parts,
    without_predictors,
)
from lmm.likelihood import correlations
from lmm.plain_fit import LeastSquaresFit, PlainFit
from lmm.report.cells import Cells, Column, bars, listed
from lmm.report.document import Document
from lmm.report.format import format_number
from lmm.report.printed import Framed, TableLike
from lmm.tables.comparison import model_names

SharesT = TypeVar("SharesT", bound="Shares")

# Indices that models of one response are weighed by.
CRITERIA = ("AIC", "AICc", "BIC")
# Replicates for intervals of shares of variance, as in performance.
REPLICATES = 100


@dataclass(frozen=True, eq=False, repr=False)
class Shares(TableLike):
    """Shares of the variance: how they print, and as a table.

    Attributes
    ----------
    limits : DataFrame or None
        Bootstrap intervals of the shares, where they were asked for.
    """

    limits: pd.DataFrame | None = field(default=None, kw_only=True)

    title: ClassVar[str]
    #: Attributes by the names they are printed under.
    shown: ClassVar[dict[str, str]]

    @classmethod
    @abstractmethod
    def of(cls, parts: VarianceParts) -> Self:
        """The shares in a decomposed variance."""

    @property
    def values(self) -> dict[str, float]:
        """The shares by the names they are printed under."""
        return {name: getattr(self, attribute) for name, attribute in self.shown.items()}

    def to_frame(self) -> pd.DataFrame:
        """One row, a column per share; rows of limits below."""
        frame = pd.DataFrame([self.values])
        return frame if self.limits is None else pd.concat([frame, self.limits.T])

    def document(self) -> Document:
        """The shares below each other, as insight prints them."""
        texts = [f"{value:.3f}" for value in self.values.values()]
        if self.limits is not None:
            pairs = [f" [{low:.3f}, {high:.3f}]" for low, high in self.limits.to_numpy().tolist()]
            texts = [text + pair for text, pair in zip(texts, pairs, strict=True)]
        columns = (Column("", tuple(self.shown), "label"), Column("", tuple(texts)))
        return Document((f"# {self.title}", "", Cells(columns, layout=listed)))


@dataclass(frozen=True, eq=False, repr=False)
class ICC(Shares):
    """Intraclass correlation coefficients.

    Attributes
    ----------
    adjusted : float
        Share of the random effects in what the fixed effects leave.
    unadjusted : float
        Share of the random effects in everything, also called conditional.
    limits : DataFrame or None
        Bootstrap intervals of the two, where they were asked for.
    """

    adjusted: float
    unadjusted: float

    title = "Intraclass Correlation Coefficient"
    shown: ClassVar = {"Adjusted ICC": "adjusted", "Unadjusted ICC": "unadjusted"}

    @classmethod
    def of(cls, parts: VarianceParts) -> ICC:
        """The two shares of the random effects."""
        return cls(parts.icc_adjusted, parts.icc_unadjusted)


@dataclass(frozen=True, eq=False, repr=False)
class _SharesByLevel(TableLike):
    """One share of a variance for each of several levels.

    Attributes
    ----------
    by_group : dict of str to float
        The shares.
    """

    by_group: dict[str, float]

    title: ClassVar[str]
    #: What the shares are of, and what they are called.
    heads: ClassVar[tuple[str, str]]

    def to_frame(self) -> pd.DataFrame:
        """A column of names, and one of shares."""
        names, shares = self.heads
        return pd.DataFrame({names: list(self.by_group), shares: list(self.by_group.values())})

    def document(self) -> Document:
        """A row for each."""
        names, name = self.heads
        shares = Column(name, tuple(f"{value:.3f}" for value in self.by_group.values()))
        return _document(self.title, _labelled(names, self.by_group), shares)


@dataclass(frozen=True, eq=False, repr=False)
class GroupICC(_SharesByLevel):
    """Intraclass correlation coefficient of each grouping factor.

    Attributes
    ----------
    by_group : dict of str to float
        Share of each in what the fixed effects leave.
    """

    title = "ICC by Group"
    heads = ("Group", "ICC")


@dataclass(frozen=True, eq=False, repr=False)
class R2(Shares):
    """Nakagawa's coefficients of determination.

    Attributes
    ----------
    conditional : float
        Share of fixed and random effects in the variance.
    marginal : float
        Share of the fixed effects.
    limits : DataFrame or None
        Bootstrap intervals of the two, where they were asked for.
    """

    conditional: float
    marginal: float

    title = "R2 for Mixed Models"
    shown: ClassVar = {"Conditional R2": "conditional", "Marginal R2": "marginal"}

    @classmethod
    def of(cls, parts: VarianceParts) -> R2:
        """What all effects explain, and the fixed ones."""
        return cls(parts.r2_conditional, parts.r2_marginal)


@dataclass(frozen=True, eq=False, repr=False)
class GroupR2(_SharesByLevel):
    """Variance explained at each level: of rows, and of each grouping factor.

    Attributes
    ----------
    by_group : dict of str to float
        Share of the residual variance (``"Level 1"``) and of each factor's variance of intercepts
        by which the predictors make them smaller; below zero where they do not. Factors without
        variance before are left out.
    """

    title = "Explained Variance by Level"
    heads = ("Level", "R2")


@dataclass(frozen=True, eq=False, repr=False)
class VarianceDecomposition(TableLike):
    """Parts of a model's variance, with insight's names.

    Attributes
    ----------
    parts : VarianceParts
        Variance of the fixed part, mean variance of the random effects, residual variance.
    intercept, slope : dict of str to float
        Variances of random intercepts by group, and of slopes by ``group.column``.
    slope_intercept : dict of str to float
        Correlations of slopes with the intercept of their term, by ``group.column``.
    """

    parts: VarianceParts
    intercept: dict[str, float]
    slope: dict[str, float]
    slope_intercept: dict[str, float]

    def to_frame(self) -> pd.DataFrame:
        """Columns ``component``, ``group`` and ``value``."""
        return pd.DataFrame(self._rows(), columns=["component", "group", "value"])

    def _rows(self) -> list[tuple[str, str, float]]:
        return [
            ("var.fixed", "", self.parts.fixed),
            ("var.random", "", self.parts.random),
            ("var.residual", "", self.parts.residual),
            *(("var.intercept", group, value) for group, value in self.intercept.items()),
            *(("var.slope", group, value) for group, value in self.slope.items()),
            *(("cor.slope_intercept", name, value) for name, value in self.slope_intercept.items()),
        ]

    def document(self) -> Document:
        """A row per part."""
        names, groups, values = zip(*self._rows(), strict=True)
        return _document(
            "Variance Decomposition",
            _labelled("Component", names),
            Column("Group", groups, "label"),
            Column("Value", tuple(format_number(value, 3) for value in values)),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Performance(Framed):
    """Indices of a model's performance.

    Attributes
    ----------
    frame : DataFrame (1, 8)
        ``AIC AICc BIC R2 (cond.) R2 (marg.) ICC RMSE Sigma``.
    """

    def document(self) -> Document:
        """The indices in a row."""
        first, *rest = (
            Column(str(name), (f"{value:.3f}",)) for name, value in self.frame.iloc[0].items()
        )
        return _document("Indices of model performance", replace(first, left=True), *rest)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Framed):
    """Indices of several models' performance. Made by `lmm.compare_performance`.

    Attributes
    ----------
    frame : DataFrame
        As of `Performance`, a row per model; weights ``AIC_wt AICc_wt BIC_wt`` beside the criteria.
    """

    def document(self) -> Document:
        """A row per model, weights in parentheses."""
        columns = [_labelled("Name", map(str, self.frame.index))]
        for name, values in self.frame.items():
            if name in CRITERIA:
                pairs = zip(values, self.frame[f"{name}_wt"], strict=True)
                texts = tuple(f"{value:.1f} ({weight:.3f})" for value, weight in pairs)
                columns.append(Column(f"{name} (weights)", texts))
            elif not str(name).endswith("_wt"):
                texts = tuple("" if np.isnan(value) else f"{value:.3f}" for value in values)
                columns.append(Column(str(name), texts))
        return _document("Comparison of Model Performance Indices", *columns)


def _document(title: str, *columns: Column) -> Document:
    return Document((f"# {title}", "", Cells(columns, layout=bars)))


def _labelled(name: str, texts: Iterable[str]) -> Column:
    return Column(name, tuple(texts), "label", left=True)


def _shares(
    kind: type[SharesT],
    m: ReportedModel,
    nsim: int,
    seed: int | None,
    level: float,
    progress: bool | None,
) -> SharesT:
    """Shares of a model's variance, with percentile intervals by parametric bootstrap."""
    check_models(m)
    shares = kind.of(variance_parts(m.fit))
    if not nsim:
        return shares

    def replicate(model: Fitted) -> dict[str, float]:
        return kind.of(variance_parts(model.fit)).values

    replicates = m.bootstrap(nsim, seed, statistic=replicate, progress=progress)
    return replace(shares, limits=replicates.confint(level).to_frame())


def _intervals(nsim: int, level: float, ci: float | None) -> tuple[int, float]:
    """Replicates and coverage, of which `ci` says the second."""
    return (nsim, level) if ci is None else (nsim or REPLICATES, checked_level(ci))


def icc(
    m: ReportedModel,
    by_group: bool = False,
    *,
    nsim: int = 0,
    seed: int | None = None,
    level: float = 0.95,
    ci: float | None = None,
    progress: bool | None = None,
) -> ICC | GroupICC:
    """Intraclass correlation: how much of the variance random effects make up.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    by_group : bool
        Whether to give the share of each grouping factor instead.
    nsim : int
        Replicates of a parametric bootstrap for intervals; none by default.
    seed : int, optional
        Where its random numbers come from.
    level : float
        Coverage of the intervals.
    ci : float, optional
        Their coverage in performance's words, with 100 replicates where `nsim` says no number.
    progress : bool, optional
        Whether to show a bar of the replicates; by default in a terminal or a notebook when they
        take more than two seconds.

    Raises
    ------
    ValueError
        Intervals are asked for by group.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.icc(m)
    # Intraclass Correlation Coefficient
    <BLANKLINE>
        Adjusted ICC: 0.722
      Unadjusted ICC: 0.521
    """
    nsim, level = _intervals(nsim, level, ci)
    if not by_group:
        return _shares(ICC, m, nsim, seed, level, progress)
    if nsim:
        raise ValueError("intervals are those of the whole ICC: leave by_group or nsim out.")
    check_models(m)
    return GroupICC(variance_parts(m.fit).icc_by_group)


def r2_nakagawa(
    m: ReportedModel,
    by_group: bool = False,
    *,
    nsim: int = 0,
    seed: int | None = None,
    level: float = 0.95,
    ci: float | None = None,
    progress: bool | None = None,
) -> R2 | GroupR2:
    """Marginal and conditional R2: what fixed effects, and all effects, explain.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    by_group : bool
        Whether to give the variance explained at each level instead: ``1 - variance / variance of
        the model without predictors``, of rows and of the factors' intercepts (Hox, 2010,
        Multilevel Analysis, pp. 69-78). With random slopes it depends on the origin of their
        variables.
    nsim, seed, level, ci, progress
        As for `icc`.

    Raises
    ------
    ValueError
        Intervals are asked for by group.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.r2_nakagawa(m)
    # R2 for Mixed Models
    <BLANKLINE>
      Conditional R2: 0.799
         Marginal R2: 0.279
    """
    nsim, level = _intervals(nsim, level, ci)
    if not by_group:
        return _shares(R2, m, nsim, seed, level, progress)
    if nsim:
        raise ValueError("intervals are those of the whole R2: leave by_group or nsim out.")
    check_models(m)
    null = without_predictors(m.fit)
    found = {"Level 1": 1.0 - variance_parts(m.fit).residual / variance_parts(null).residual}
    own, before = _intercepts(m.fit), _intercepts(null)
    found |= {group: 1.0 - own[group] / before[group] for group in own if before[group] > 0.0}
    return GroupR2(found)


def _intercepts(fit: Fit) -> dict[str, float]:
    """Variances of random intercepts, by grouping factor."""
    return {
        term.group: float(covariance[0, 0])
        for term, covariance in zip(fit.matrices.terms, fit.covariances, strict=True)
        if term.columns[0] == "(Intercept)"
    }


def get_variance(m: Fitted) -> VarianceDecomposition:
    """Fixed, random and residual parts of the variance, and the variance components.

    Parameters
    ----------
    m : LinearMixedModel
        The model.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> print(lmm.get_variance(m))
    # Variance Decomposition
    <BLANKLINE>
    Component           |        Group |  Value
    -------------------------------------------
    var.fixed           |              |    909
    var.random          |              |   1698
    var.residual        |              |    655
    var.intercept       |      Subject |    612
    var.slope           | Subject.Days |   35.1
    cor.slope_intercept | Subject.Days | 0.0656
    """
    check_models(m)
    slope: dict[str, float] = {}
    correlation: dict[str, float] = {}
    for term, covariance in zip(m.fit.matrices.terms, m.fit.covariances, strict=True):
        ratios = correlations(covariance)
        has_intercept = term.columns[0] == "(Intercept)"
        for j, column in enumerate(term.columns):
            if column == "(Intercept)":
                continue
            slope[f"{term.group}.{column}"] = float(covariance[j, j])
            if has_intercept and not np.isnan(ratios[0, j]):
                correlation[f"{term.group}.{column}"] = float(ratios[0, j])
    return VarianceDecomposition(variance_parts(m.fit), _intercepts(m.fit), slope, correlation)


def model_performance(m: TabulatedModel) -> Performance:
    """Indices of a model's performance: information criteria, R2, ICC, errors.

    Parameters
    ----------
    m : model
        Of `lmm.lmer` or `lmm.glmer`; or of `lmm.lm`, with R2 and its adjusted value, or of
        `lmm.glm`, with Nagelkerke's R2 (1991, Biometrika 78, 691-692) by deviances.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.model_performance(m)
    # Indices of model performance
    <BLANKLINE>
    AIC      |     AICc |      BIC | R2 (cond.) | R2 (marg.) |   ICC |   RMSE |  Sigma
    ----------------------------------------------------------------------------------
    1755.628 | 1756.114 | 1774.786 |      0.799 |      0.279 | 0.722 | 23.438 | 25.592
    """
    check_fitted(m)
    fit = m.fit
    k, n = fit.n_parameters, fit.matrices.n
    indices = {
        "AIC": m.aic(),
        # Hurvich & Tsai (1989), Biometrika 76, 297-307
        "AICc": m.aic() + 2.0 * k * (k + 1) / (n - k - 1),
        "BIC": m.bic(),
        **_explained(fit),
        "RMSE": _rmse(m),
        "Sigma": fit.sigma,
    }
    return Performance(pd.DataFrame([indices]))


def _rmse(m: TabulatedModel) -> float:
    """Root mean square of the residuals, without rows from what the criterion has of them."""
    fit = m.fit
    if isinstance(fit, Fit) and fit.matrices.frame.summary is not None and m.call.weights is None:
        squares = float(fit.terms.pwrss) - float(fit.u @ fit.u)
        return float(np.sqrt(max(squares, 0.0) / fit.matrices.n))
    return float(np.sqrt(np.mean(fit.residuals**2)))


def _explained(fit: Fit | PlainFit) -> dict[str, float]:
    """Shares of the variance that a model explains, as R's performance names them."""
    if isinstance(fit, Fit):
        if not has_latent_variance(fit):
            return {}
        parts = variance_parts(fit)
        shares = {"R2 (cond.)": parts.r2_conditional, "R2 (marg.)": parts.r2_marginal}
        return {**shares, "ICC": parts.icc_adjusted}
    if isinstance(fit, LeastSquaresFit):
        return {"R2": fit.r_squared, "R2 (adj.)": fit.adj_r_squared}
    base, gain = fit.null_deviance / fit.matrices.n, fit.deviance / fit.matrices.n
    share = float(np.expm1(gain - base) / np.expm1(-base))
    return {"R2 (Nagelkerke)": max(share, 0.0)}


def compare_performance(*models: TabulatedModel, names: Sequence[str] | None = None) -> Comparison:
    """Indices of several models side by side, with Akaike weights, as R's performance.

    Information criteria are those of maximum likelihood fits, so that models with different fixed
    effects compare; the other indices are those of the models as they are.

    Parameters
    ----------
    *models : models
        Two or more, with random effects or without, fitted to the same response.
    names : sequence of str, optional
        Their names: ``m1``, ``m2``, ... by default.

    Raises
    ------
    DataError
        The models were fitted to different rows or responses.
    ValueError
        There are fewer than two models, or another number of names.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", d)
    >>> lmm.compare_performance(m, m.update(". ~ . - Days")).to_frame()["AIC_wt"].round(3).to_list()
    [1.0, 0.0]
    """
    check_fitted(*models)
    if len(models) < 2:
        raise ValueError("compare_performance takes two models or more.")
    names = model_names(names, len(models))
    check_comparable([model.fit for model in models])
    rows = []
    for model in models:
        likely = model_performance(model.refit_ml()).to_frame()[list(CRITERIA)]
        rows.append(model_performance(model).to_frame().assign(**likely))
    frame = pd.concat(rows).set_axis(names)
    for name in CRITERIA:
        relative = np.exp(-0.5 * (frame[name] - frame[name].min()))
        frame[f"{name}_wt"] = relative / relative.sum()
    weighed = [part for name in CRITERIA for part in (name, f"{name}_wt")]
    return Comparison(frame[[*weighed, *frame.columns.drop(weighed)]])
