"""What lmer prints of a fit: `FitReport`, its print, and `Summary`, its summary.

Both are records of numbers and labels only; they know nothing of how a model is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.report.cells import Cells, Column, named, wide_vector
from lmm.report.document import Block, Document
from lmm.report.format import (
    WIDTH,
    abbreviate,
    fill,
    format_number,
    format_numbers,
    round_decimals,
    zapsmall,
)
from lmm.report.printed import Printed
from lmm.report.tables import coefficient_blocks, labels
from lmm.report.varcorr import Component, VarCorr

MAX_CORRELATION_COLUMNS = 12


@dataclass(frozen=True)
class ConvergenceReport:
    """How the optimizer ended, as the foot of a print tells it.

    Attributes
    ----------
    optimizer : str
        Its name.
    code : int
        0 if it stopped as it should.
    status : str
        What the code means, ``OK`` for 0.
    messages : tuple of str
        Findings about the optimum, such as a singular fit.
    """

    optimizer: str
    code: int = 0
    status: str = "OK"
    messages: tuple[str, ...] = ()

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to tell."""
        return self.code == 0 and not self.messages

    @property
    def verdict(self) -> str:
        """The optimizer's code in words."""
        return f"optimizer ({self.optimizer}) convergence code: {self.code} ({self.status})"


@dataclass(frozen=True, eq=False, repr=False)
class FitReport(Printed):
    """A fit as ``print(lmer(...))`` shows it.

    Attributes
    ----------
    reml : bool
        Whether the criterion is REML's.
    formula : str
        The formula, already broken into lines.
    criteria : mapping of str to float
        ``REML`` alone, or ``AIC``, ``BIC``, ``logLik``, ``deviance`` and ``df.resid``.
    varcorr : VarCorr
        Variance components.
    nobs : int
        Number of observations.
    ngroups : mapping of str to int
        Number of levels of each grouping factor.
    fixef : Series (p,)
        Fixed-effects estimates by name.
    data, weights, offset, subset : str, optional
        How the call named them; a line of the heading each.
    fit_warnings : tuple of str
        Findings about the data: dropped columns, scales.
    convergence : ConvergenceReport, optional
        How the optimizer ended.
    family : str, optional
        Family and link of a generalized model, ``binomial  ( logit )``.
    approximation : str
        How its likelihood was approximated.
    """

    reml: bool
    formula: str
    criteria: Mapping[str, float]
    varcorr: VarCorr
    nobs: int
    ngroups: Mapping[str, int]
    fixef: pd.Series[float]
    data: str | None = None
    weights: str | None = None
    offset: str | None = None
    subset: str | None = None
    fit_warnings: tuple[str, ...] = ()
    convergence: ConvergenceReport | None = None
    family: str | None = None
    approximation: str = ""

    def document(
        self,
        *,
        digits: int = 4,
        components: Sequence[Component] = ("Std.Dev.",),
        findings: bool = False,
    ) -> Document:
        """R's ``print(m, digits, ranef.comp)``.

        Parameters
        ----------
        digits : int
            Significant digits of estimates.
        components : sequence of {"Variance", "Std.Dev."}
            Columns of the variance components.
        findings : bool
            Whether findings about the optimum are told in full; R's print counts them.
        """
        verdict = _full_verdict if findings else _short_verdict
        return Document(
            (
                *_heading(self, None),
                *_criteria(self, 4),
                *_random_effects(self, digits, components),
                *_fixed_effects(self.fixef, digits),
                *_fit_warnings(self),
                *verdict(self.convergence),
            )
        )

    def _repr_html_(self) -> str:
        return self.to_html(findings=True)


@dataclass(frozen=True, eq=False, repr=False)
class Summary(Printed):
    """A fit as ``print(summary(lmer(...)))`` shows it.

    Attributes
    ----------
    fit : FitReport
        What the print of the fit shows too.
    coefficients : DataFrame (p, 3 or 5)
        ``Estimate``, ``Std. Error``, ``t value``; with a method for degrees of freedom also
        ``df`` before the t value, and ``Pr(>|t|)``.
    correlation : (p, p) array
        Correlation of the fixed-effects estimates.
    scaled_residuals : (n,) array or None
        Weighted residuals in units of sigma; None where the rows were read batch by batch.
    ddf : str, optional
        Method of the degrees of freedom as lmerTest writes it, ``Satterthwaite``.
    """

    fit: FitReport
    coefficients: pd.DataFrame
    correlation: Matrix
    scaled_residuals: Vector | None
    ddf: str | None = None

    @property
    def shows_correlation(self) -> bool:
        """Whether the correlation matrix is printed by default: from 2 to 12 columns."""
        return 1 < len(self.correlation) <= MAX_CORRELATION_COLUMNS

    @property
    def note(self) -> str | None:
        """What the text leaves out and how to get it, as R says it."""
        p = len(self.correlation)
        if p <= MAX_CORRELATION_COLUMNS:
            return None
        return (
            f"Correlation matrix not shown by default, as p = {p} > {MAX_CORRELATION_COLUMNS}.\n"
            "Use m.summary().to_text(correlation=True)  or\n"
            "    m.vcov()        if you need it"
        )

    def document(
        self,
        *,
        digits: int = 4,
        components: Sequence[Component] = ("Variance", "Std.Dev."),
        correlation: bool | None = None,
        residuals: bool = True,
        stars: bool = True,
    ) -> Document:
        """R's ``print(summary(m), digits, ranef.comp, correlation, show.resids)``.

        Parameters
        ----------
        digits, components
            As for `FitReport.document`.
        correlation : bool, optional
            Whether to show the correlation of the fixed effects; by default up to 12 of them, and
            a note that it is left out where there are more.
        residuals : bool
            Whether to show the quantiles of the scaled residuals.
        stars : bool
            Whether small p-values get stars.
        """
        return Document(
            (
                *_heading(self.fit, self.ddf),
                "",
                *_criteria(self.fit, 1),
                "",
                *(_residuals(self.scaled_residuals, digits) if residuals else ()),
                *_random_effects(self.fit, digits, components),
                *_coefficients(self.coefficients, digits, stars),
                *self._correlation(correlation),
                *_fit_warnings(self.fit),
                *_full_verdict(self.fit.convergence),
            )
        )

    def _correlation(self, asked: bool | None) -> tuple[Block, ...]:
        if asked is None and self.note is not None:
            return ("", self.note, "")
        if self.shows_correlation if asked is None else asked:
            return ("", _correlation(self))
        return ()


def _heading(fit: FitReport, ddf: str | None) -> list[str]:
    call = {
        "   Data": fit.data,
        "Weights": fit.weights,
        " Offset": fit.offset,
        " Subset": fit.subset,
    }
    title = _title(fit.reml, ddf) if fit.family is None else _generalized_title(fit)
    return [
        *title,
        *fill(["Formula:", *fit.formula.split(" \n")]),
        *(f"{key}: {text}" for key, text in call.items() if text),
    ]


def _title(reml: bool, ddf: str | None) -> list[str]:
    title = f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood '}"
    if ddf is None:
        return [f"{title} ['lmerMod']"]
    title = f"{title}. t-tests use {ddf}'s method"
    lines = wrap(title, WIDTH - 3, subsequent_indent="  ", break_long_words=False)
    return fill([*lines, " [", "lmerModLmerTest", "]"], "")


def _generalized_title(fit: FitReport) -> list[str]:
    title = f"Generalized linear mixed model fit by maximum likelihood ({fit.approximation})"
    lines = wrap(
        f"{title} [glmerMod]",
        WIDTH - 1,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*lines, f" Family: {fit.family}"]


def _criteria(fit: FitReport, decimals: int) -> tuple[Block]:
    values = {name: float(round_decimals(value, decimals)) for name, value in fit.criteria.items()}
    if "REML" in values:
        return (f"REML criterion at convergence: {format_number(values['REML'])}",)
    df_resid = format_number(values.pop("df.resid"))
    texts = [*format_numbers(list(values.values())), df_resid]
    return (named(fit.criteria, texts),)


def _residuals(scaled: Vector | None, digits: int) -> tuple[Block, ...]:
    if scaled is None:
        return ("Scaled residuals: not kept, the rows were read batch by batch", "")
    quantiles = zapsmall(np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1]), digits + 1)
    names = ["Min", "1Q", "Median", "3Q", "Max"]
    return (named(names, format_numbers(quantiles, digits), "Scaled residuals: "), "")


def _random_effects(
    fit: FitReport, digits: int, components: Sequence[Component]
) -> tuple[Block, ...]:
    groups = "; ".join(f"{name}, {levels}" for name, levels in fit.ngroups.items())
    return (
        replace(fit.varcorr.cells(digits, components), title="Random effects:"),
        *fill([f"Number of obs: {fit.nobs}, groups: ", groups]),
    )


def _fixed_effects(fixef: pd.Series[float], digits: int) -> tuple[Block]:
    if fixef.empty:
        return ("No fixed effect coefficients",)
    texts = format_numbers(fixef.to_numpy(), digits)
    return (named(labels(fixef.index), texts, "Fixed Effects:", wide_vector),)


def _coefficients(table: pd.DataFrame, digits: int, stars: bool) -> tuple[Block, ...]:
    if table.empty:
        return ()
    title = "Fixed effects:"
    return ("", *coefficient_blocks(table, digits=digits, stars=stars, title=title))


def _correlation(summary: Summary) -> Cells:
    """Lower triangle without its diagonal, under abbreviated names."""
    names, p = labels(summary.coefficients.index), len(summary.correlation)
    texts = np.reshape(
        format_numbers(round_decimals(summary.correlation, 3).ravel(), decimals=3), (p, p)
    )
    columns = (
        Column(name, tuple(texts[i, j] if j < i else "" for i in range(1, p)), left=True)
        for j, name in enumerate(abbreviate(names, 6)[:-1])
    )
    rows = tuple(abbreviate(names, 11)[1:])
    return Cells(tuple(columns), rows, "Correlation of Fixed Effects:")


def _fit_warnings(fit: FitReport) -> tuple[str, ...]:
    return ("fit warnings:", *fit.fit_warnings) if fit.fit_warnings else ()


def _short_verdict(convergence: ConvergenceReport | None) -> tuple[str, ...]:
    if convergence is None or convergence.is_silent:
        return ()
    count = len(convergence.messages)
    return (f"{convergence.verdict} ; 0 optimizer warnings; {count} lme4 warnings ",)


def _full_verdict(convergence: ConvergenceReport | None) -> tuple[str, ...]:
    if convergence is None or convergence.is_silent:
        return ()
    return (convergence.verdict, *convergence.messages, "")
