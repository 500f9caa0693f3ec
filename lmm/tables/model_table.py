"""Models side by side in one table, for papers and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from lmm._words import Ddf
from lmm.errors import DataError, nearest
from lmm.fit import Fit, check_fitted
from lmm.fitted import ReportedModel, TabulatedModel
from lmm.inference.variance.parts import has_latent_variance, variance_parts
from lmm.plain_fit import LeastSquaresFit, PlainFit
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.format import significance_stars
from lmm.report.printed import TableLike
from lmm.tables.broom import exponentiated

SHOWN = ("interval", "error", "none")
Shown = Literal["interval", "error", "none"]


@dataclass(frozen=True, eq=False, repr=False)
class ModelTable(TableLike):
    """Models side by side: coefficients, variances, sizes.

    Made by `lmm.table`. It prints as text and has `to_markdown`, `to_html`, `to_latex` and
    `to_docx`; `to_frame` gives the texts.

    Attributes
    ----------
    names : tuple of str
        Names of the models.
    columns : tuple of dict of str to str
        For each column of the table its texts by the name of a row.
    headers : tuple of str
        Names of the columns.
    rows : tuple of str
        Names of the rows.
    notes : tuple of str
        Lines below the table.
    """

    names: tuple[str, ...]
    headers: tuple[str, ...]
    columns: tuple[dict[str, str], ...]
    rows: tuple[str, ...]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The texts of the table, a row each; empty where a model has none."""
        texts = [[column.get(row, "") for column in self.columns] for row in self.rows]
        return pd.DataFrame(texts, index=list(self.rows), columns=list(self.headers))

    def document(self) -> Document:
        """The table and its notes."""
        columns = tuple(
            Column(header, tuple(column.get(row, "") for row in self.rows))
            for header, column in zip(self.headers, self.columns, strict=True)
        )
        return Document((Cells(columns, self.rows), "", *self.notes))

    def to_docx(self, path: str | Path) -> None:
        """Write the table as a Word document (python-docx, the ``docx`` extra).

        Parameters
        ----------
        path : str or Path
            Where to; an existing file is replaced.

        Raises
        ------
        ImportError
            python-docx is not installed.
        """
        try:
            from docx import Document as WordDocument
        except ImportError as error:
            raise ImportError(
                "Word documents need python-docx: pip install 'lmm[docx]'."
            ) from error
        document = WordDocument()
        grid = document.add_table(rows=1 + len(self.rows), cols=1 + len(self.headers))
        for j, header in enumerate(self.headers):
            grid.cell(0, 1 + j).text = header
        for i, row in enumerate(self.rows):
            grid.cell(1 + i, 0).text = row
            for j, column in enumerate(self.columns):
                grid.cell(1 + i, 1 + j).text = column.get(row, "")
        for note in self.notes:
            document.add_paragraph(note)
        document.save(str(path))


def table(
    *models: TabulatedModel,
    names: Sequence[str] | None = None,
    show: Shown = "interval",
    level: float = 0.95,
    ddf: Ddf | None = "satterthwaite",
    exponentiate: bool = False,
    rename: Mapping[str, str] | None = None,
    digits: int = 2,
    stars: bool = False,
    variance_errors: bool = False,
) -> ModelTable:
    """Models side by side: estimates, intervals and p-values, variances, ICC, R2, sizes.

    Parameters
    ----------
    *models : models
        With random effects or without (`lmm.lm`, `lmm.glm`), in the order of their columns.
    names : sequence of str, optional
        Names of the models; ``Model 1``, ... by default.
    show : {"interval", "error", "none"}
        What stands beside each estimate: its confidence interval, its standard error, or nothing.
    level : float
        Confidence level of intervals.
    ddf : {"satterthwaite", "kenward-roger", "asymptotic"} or None
        Degrees of freedom of linear models; None leaves p-values out of them.
    exponentiate : bool
        Whether to show ratios, the exponentials of coefficients, of models with a log or logit
        link.
    rename : mapping of str to str, optional
        Names of rows to show instead of R's.
    digits : int
        Decimals. Numbers that would round to zero keep as many significant digits.
    stars : bool
        Whether to mark small p-values behind the estimates.
    variance_errors : bool
        Whether standard errors stand beside variance parameters too, as ``m.tidy`` has them
        (``show="error"``).

    Returns
    -------
    ModelTable
        The table.

    Raises
    ------
    DataError
        There is no model, or not one name for each.
    ValueError
        `show` is another word, or `digits` is negative; or `variance_errors` without
        ``show="error"``.

    Examples
    --------
    >>> import lmm
    >>> data = lmm.load_dataset("sleepstudy")
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> print(lmm.table(m, names=["Reaction"]))
                                   Reaction          95 % CI      p
    (Intercept)                      251.41 [237.01, 265.80] <0.001
    Days                              10.47    [7.21, 13.73] <0.001
    sd (Intercept) | Subject          24.74
    cor (Intercept).Days | Subject     0.07
    sd Days | Subject                  5.92
    sd Residual                       25.59
    ICC                                0.72
    R2 marginal                        0.28
    R2 conditional                     0.80
    N Subject                            18
    Observations                        180
    AIC                             1755.63
    log-likelihood                  -871.81
    <BLANKLINE>
    p-values: t tests with degrees of freedom by Satterthwaite's method; 95 % intervals by the same.
    """
    if not models:
        raise DataError("there is no model: give one or more")
    check_fitted(*models)
    if show not in SHOWN:
        raise ValueError(f"show is {show!r}.{nearest(str(show), SHOWN)}")
    if variance_errors and show != "error":
        raise ValueError("variance_errors are standard errors: they need show='error'.")
    if digits < 0:
        raise ValueError(f"digits must be a whole number, at least 0, not {digits!r}")
    shown = tuple(names) if names is not None else _numbered(len(models))
    if len(shown) != len(models):
        raise DataError(f"{len(models)} models need as many names, not {len(shown)}")
    made = [
        _Part.of(m, show, level, ddf, exponentiate, digits, stars, variance_errors) for m in models
    ]
    headers, columns = [], []
    for name, part in zip(shown, made, strict=True):
        headers += [name, *part.headers]
        columns += list(part.columns)
    rows = _merged([part.rows for part in made])
    named = dict(rename or {})
    return ModelTable(
        shown,
        tuple(headers),
        tuple({named.get(row, row): text for row, text in column.items()} for column in columns),
        tuple(named.get(row, row) for row in rows),
        tuple(dict.fromkeys(note for part in made for note in part.notes)),
    )


def _numbered(n: int) -> tuple[str, ...]:
    return ("Estimate",) if n == 1 else tuple(f"Model {i + 1}" for i in range(n))


@dataclass(frozen=True)
class _Part:
    """The columns of one model."""

    headers: tuple[str, ...]
    columns: tuple[dict[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        m: TabulatedModel,
        show: Shown,
        level: float,
        ddf: Ddf | None,
        exponentiate: bool,
        digits: int,
        stars: bool,
        variance_errors: bool,
    ) -> _Part:
        """Format a model; rows in blocks of coefficients, variances and sizes."""
        own = ddf if m.fit.family.is_gaussian_identity else None
        fixed = m.tidy("fixed", conf_int=True, conf_level=level, ddf=own).set_index("term")
        if exponentiate:
            fixed = exponentiated(fixed, m.fit.family)
        p = fixed.get("p.value")
        estimates = {str(k): _number(v, digits) for k, v in fixed["estimate"].items()}
        if stars and p is not None:
            marks = significance_stars(p)
            estimates = {k: v + s for (k, v), s in zip(estimates.items(), marks, strict=True)}
        spread = _variances(m, digits)
        errors = _variances(m, digits, "std.error") if variance_errors else {}
        sizes = _sizes(m, digits)
        headers, columns = [], [estimates | spread | sizes]
        if show != "none":
            headers.append(f"{100.0 * level:g} % CI" if show == "interval" else "SE")
            columns.append(_beside(fixed, show, digits) | errors)
        if p is not None:
            headers.append("p")
            columns.append({str(k): _p_value(v) for k, v in p.items()})
        method = _method(m.fit, ddf if "df" in fixed else None)
        notes = _notes("p.value" in fixed, show, level, method, exponentiate, stars)
        return cls(
            tuple(headers), tuple(columns), (tuple(estimates), tuple(spread), tuple(sizes)), notes
        )


def _beside(fixed: pd.DataFrame, show: Shown, digits: int) -> dict[str, str]:
    if show == "error":
        return {str(k): _number(v, digits) for k, v in fixed["std.error"].items()}
    return {
        str(k): f"[{_number(low, digits)}, {_number(high, digits)}]"
        for k, low, high in zip(fixed.index, fixed["conf.low"], fixed["conf.high"], strict=True)
    }


def _variances(m: TabulatedModel, digits: int, column: str = "estimate") -> dict[str, str]:
    """Standard deviations and correlations, or their standard errors."""
    if isinstance(m.fit, PlainFit):
        linear = m.fit.family.is_gaussian_identity and column == "estimate"
        return {"sd Residual": _number(m.fit.sigma, digits)} if linear else {}
    mixed = cast(ReportedModel, m)
    rows = mixed.tidy("ran_pars", variance_errors=column != "estimate")
    found = {}
    for group, term, value in zip(rows["group"], rows["term"], rows[column], strict=True):
        kind, _, label = str(term).partition("__")
        name = "sd Residual" if group == "Residual" else f"{kind} {label} | {group}"
        found[name] = _number(value, digits)
    return found


def _sizes(m: TabulatedModel, digits: int) -> dict[str, str]:
    """ICC and R2, numbers of levels and rows, fit."""
    fit = m.fit
    shares, levels = {}, {}
    if isinstance(fit, Fit):
        if has_latent_variance(fit):
            parts = variance_parts(fit)
            shares = {"ICC": parts.icc_adjusted, "R2 marginal": parts.r2_marginal}
            shares["R2 conditional"] = parts.r2_conditional
        levels = {f"N {term.group}": str(term.n_levels) for term in fit.matrices.terms}
    elif isinstance(fit, LeastSquaresFit):
        shares = {"R2": fit.r_squared, "R2 adjusted": fit.adj_r_squared}
    return {
        **{name: _number(value, digits) for name, value in shares.items()},
        **levels,
        "Observations": str(m.nobs),
        "AIC": _number(m.aic(), digits),
        "log-likelihood": _number(m.loglik(), digits),
    }


METHODS = {
    "satterthwaite": "t tests with degrees of freedom by Satterthwaite's method",
    "kenward-roger": "t tests with degrees of freedom by Kenward and Roger's method",
    "asymptotic": "z tests",
}


def _method(fit: Fit | PlainFit, ddf: Ddf | None) -> str:
    """How coefficients were tested."""
    if isinstance(fit, PlainFit) and np.isfinite(fit.test_df):
        return "t tests with the residual degrees of freedom"
    return METHODS.get(str(ddf), METHODS["asymptotic"])


def _notes(
    has_tests: bool, show: Shown, level: float, method: str, exponentiate: bool, stars: bool
) -> tuple[str, ...]:
    notes = []
    interval = f"; {100.0 * level:g} % intervals by the same" if show == "interval" else ""
    if has_tests:
        notes.append(f"p-values: {method}{interval}.")
    elif interval:
        notes.append(f"{100.0 * level:g} % intervals from normal quantiles.")
    if exponentiate:
        notes.append("Coefficients are shown as ratios, exp(estimate).")
    if stars:
        notes.append("*** p < 0.001, ** p < 0.01, * p < 0.05, . p < 0.1")
    return tuple(notes)


def _merged(blocks: Sequence[tuple[tuple[str, ...], ...]]) -> tuple[str, ...]:
    """Rows of all models, block by block; what a later model adds follows what it stands behind."""
    rows: list[str] = []
    for parts in zip(*blocks, strict=True):
        found: list[str] = []
        for part in parts:
            place = 0
            for row in part:
                if row in found:
                    place = found.index(row) + 1
                else:
                    found.insert(place, row)
                    place += 1
        rows += found
    return tuple(rows)


def _number(value: Any, digits: int) -> str:
    """Fixed decimals; as many significant digits where these would show a zero."""
    number = float(value)
    if not np.isfinite(number):
        return "" if np.isnan(number) else str(number)
    if number != 0.0 and abs(number) < 0.5 * 10.0**-digits:
        return f"{number:.{max(digits, 1)}g}"
    return f"{number:.{digits}f}"


def _p_value(value: Any) -> str:
    """Three decimals, and never zero."""
    p = float(value)
    if np.isnan(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
