"""Leaving out terms one at a time, and backward selection, as lmerTest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

import numpy as np
import pandas as pd

from lmm._words import Ddf
from lmm.design.columns import Factor
from lmm.errors import DataError, nearest
from lmm.fitted import Comparable
from lmm.formula import Formula, RandomTerm, expand_terms, update_formula
from lmm.inference.fixed.base import DdfMethod, FTest
from lmm.inference.fixed.ddf import ddf_method
from lmm.inference.fixed.term_contrasts import deletion_contrasts
from lmm.inference.variance.lrt import check_comparable, chi_square_tail
from lmm.language.deparse import deparse
from lmm.plain_fit import PlainFit, ScoredFit
from lmm.report.document import Document
from lmm.report.printed import AnovaTable, Printed
from lmm.tables.comparison import ModelT, checked_scope, settled
from lmm.tables.fixed_tests import anova_frame


class LeastSquares(Protocol):
    """A model without random effects, linear or generalized."""

    @property
    def fit(self) -> PlainFit:
        """Its estimates."""

    @property
    def formula(self) -> Formula:
        """The formula."""

    def drop1(self) -> AnovaTable:
        """Tests of the terms that may be left out, below the model as it is."""


# Random effects ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Deletion:
    """A random term that is left out or made smaller.

    Attributes
    ----------
    label : str
        The row of the table: ``x in (x | g)``, ``(1 | g)``.
    kept : tuple of str
        The random terms that remain, as formulas write them.
    """

    label: str
    kept: tuple[str, ...]


def ranova(model: Comparable, reduce_terms: bool = True) -> AnovaTable:
    """Likelihood-ratio tests of the random terms: see `LinearMixedModel.ranova`.

    The criterion that the model was fitted by (REML or ML) is compared. A variance on its boundary
    makes the p-values conservative; ``lmm.anova(..., boundary=True)`` has the mixtures.
    """
    formula = update_formula(model.formula, _formula_with(model, _random_texts(model)))
    heading = (
        "ANOVA-like table for random-effects: Single term deletions",
        "",
        "Model:",
        *str(formula).split("\n"),
    )
    return AnovaTable(_deletion_frame(model, list(_deletions(model, reduce_terms))), heading)


def _deletion_frame(model: ModelT, deletions: Sequence[_Deletion]) -> pd.DataFrame:
    smaller = [
        model.update_on_own_rows(_formula_with(model, deletion.kept))
        for deletion in deletions
        if deletion.kept
    ]
    check_comparable([model.fit, *(other.fit for other in smaller)])
    model, *smaller = settled([model, *smaller])
    npar, loglik = [model.fit.n_parameters], [model.fit.loglik]
    remaining = iter(smaller)
    for deletion in deletions:
        if deletion.kept:
            fit = next(remaining).fit
            npar.append(fit.n_parameters)
            loglik.append(fit.loglik)
        else:  # a model without random effects
            npar.append(model.fit.n_parameters - len(model.fit.theta))
            loglik.append(-0.5 * model.fit.without_effects)
    lrt = np.maximum(0.0, 2.0 * (loglik[0] - np.array(loglik[1:])))
    df = npar[0] - np.array(npar[1:])
    return pd.DataFrame(
        {
            "npar": npar,
            "logLik": loglik,
            "AIC": -2.0 * np.array(loglik) + 2.0 * np.array(npar),
            "LRT": [np.nan, *lrt],
            "Df": [np.nan, *df],
            "Pr(>Chisq)": [np.nan, *chi_square_tail(lrt, df)],
        },
        index=["<none>", *(deletion.label for deletion in deletions)],
    )


def _random_terms(model: Comparable) -> tuple[RandomTerm, ...]:
    """Random terms in the order of an update."""
    return update_formula(model.formula, ". ~ .").random


def _random_texts(model: Comparable) -> tuple[str, ...]:
    return tuple(_term_text(term, term.effects_text) for term in _random_terms(model))


def _term_text(term: RandomTerm, effects: str) -> str:
    # A single number has no correlation that || could leave out.
    bar = "||" if term.is_double and effects != "1" else "|"
    function = "" if term.structure == "us" or term.is_double else term.structure
    hom = "" if term.hom is None else f", hom = {str(term.hom).upper()}"
    return f"{function}({effects} {bar} {deparse(term.group)}{hom})"


def _formula_with(model: Comparable, random: Sequence[str]) -> str:
    """The model's formula with other random terms, as a change of it."""
    fixed = model.fit.matrices.fixed
    parts = [
        *(() if fixed.has_intercept else ("0",)),
        *fixed.term_labels,
        *random,
        *(deparse(offset) for offset in model.formula.offsets),
    ]
    return f". ~ {' + '.join(parts)}"


def _deletions(model: Comparable, reduce_terms: bool) -> Iterator[_Deletion]:
    texts = _random_texts(model)
    for i, (term, text) in enumerate(zip(_random_terms(model), texts, strict=True)):
        others = (texts[:i], texts[i + 1 :])
        # Correlations of cs(), ar1() and the like are between the columns that they have.
        is_reducible = reduce_terms and term.structure in ("us", "diag")
        smaller = list(_reductions(model, term)) if is_reducible else []
        for label, effects in smaller:
            replacement = () if effects is None else (_term_text(term, effects),)
            yield _Deletion(f"{label} in {text}", (*others[0], *replacement, *others[1]))
        if not smaller:
            yield _Deletion(text, (*others[0], *others[1]))


def _reductions(model: Comparable, term: RandomTerm) -> Iterator[tuple[str, str | None]]:
    """Each effect that may be left out of a term, and the effects that remain."""
    expanded = expand_terms(term.effects)
    factors = [frozenset(map(deparse, effect.factors)) for effect in expanded.terms]
    for effect, own in zip(expanded.terms, factors, strict=True):
        if any(own < other for other in factors):
            continue
        rest = [label for label in expanded.labels if label != effect.label]
        if rest:
            yield effect.label, " + ".join([*(() if expanded.intercept else ("0",)), *rest])
        elif expanded.intercept or (own <= _factors(model) and not term.is_double):
            yield effect.label, "1"  # 0 + f contains the intercept
        else:
            yield effect.label, None


def _factors(model: Comparable) -> frozenset[str]:
    columns = model.fit.matrices.frame.columns
    return frozenset(text for text, column in columns.items() if isinstance(column, Factor))


# Fixed effects -----------------------------------------------------------------------------------


def drop1_f(model: Comparable, scope: Sequence[str] | None, ddf: Ddf | None) -> AnovaTable:
    """F tests of the fixed terms that may be left out, as lmerTest's ``drop1``."""
    method = ddf_method(model.fit, ddf)
    tests = _marginal_tests(method, checked_scope(model.fit.matrices.fixed, scope))
    heading = (
        f"Single term deletions using {method.name}'s method:",
        "",
        "Model:",
        *str(model.formula).split("\n"),
    )
    return AnovaTable(anova_frame(tests, method.fit.sigma), heading)


def _marginal_tests(method: DdfMethod, labels: Sequence[str]) -> dict[str, FTest | None]:
    """Test of each term against the model without it; None where that is the same model."""
    tests: dict[str, FTest | None] = {}
    for label in labels:
        L = deletion_contrasts(method.fit.matrices, label)
        tests[label] = method.f_test(L) if len(L) else None
    return tests


# Backward selection ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Printed, Generic[ModelT]):
    """Result of backward selection, printed as lmerTest's ``step``.

    Attributes
    ----------
    random, fixed : AnovaTable
        Tests of the terms in order of elimination (``Eliminated``, 0 for those kept).
    model : LinearMixedModel, GeneralizedMixedModel, LinearModel or GeneralizedLinearModel
        The model found; one of the last two where no random term is left.
    """

    random: AnovaTable
    fixed: AnovaTable
    model: ModelT | LeastSquares

    def get_model(self) -> ModelT | LeastSquares:
        """The model found."""
        return self.model

    def document(self) -> Document:
        """Both tables and the model found."""
        lines = [line.strip() for line in str(self.model.formula).split("\n")]
        tables = (self.random.document().blocks, self.fixed.document().blocks)
        found = "Model found:"
        if isinstance(self.model.fit, ScoredFit):
            found = f"Model found (glm, family = {self.model.fit.distribution.name}):"
        return Document((*tables[0], "", *tables[1], "", found, " ".join(lines)))


def step(
    model: ModelT,
    ddf: Ddf | None = None,
    alpha_random: float = 0.1,
    alpha_fixed: float = 0.05,
    reduce_random: bool = True,
    reduce_fixed: bool = True,
    keep: Sequence[str] = (),
) -> Selection[ModelT]:
    """Leave out random, then fixed terms, the least significant one at a time.

    Arguments and errors as for `LinearMixedModel.step`.

    Notes
    -----
    A model whose last random term goes too is one of `lmm.lm` or `lmm.glm`, and so are those
    without its fixed terms, which are then tested by F, or by differences of deviances (by F too
    where there is a dispersion); where sigma is known the last random term stays. All models are
    fitted to the rows of the first one, whatever is missing in the variables that are left out.
    """
    labels = model.fit.matrices.fixed.term_labels
    for label in keep:
        if label not in labels:
            raise DataError(f"the model has no fixed term {label!r}.{nearest(label, labels)}")
    name = ddf_method(model.fit, ddf).name
    alpha = alpha_fixed if reduce_fixed else 1.0
    mixed, random, effects_left = _reduce_random(model, alpha_random if reduce_random else 1.0)
    heading = ["Backward reduced fixed-effect table:"]
    found: ModelT | LeastSquares
    if effects_left:
        found, fixed = _reduce_fixed(mixed, ddf, alpha, keep)
        heading += [f"Degrees of freedom method: {name} ", ""]
    else:
        found, fixed = _reduce_least_squares(mixed, alpha, keep)
    return Selection(
        AnovaTable(random, ("Backward reduced random-effect table:", "")),
        AnovaTable(fixed, tuple(heading)),
        found,
    )


def _reduce_random(model: ModelT, alpha: float) -> tuple[ModelT, pd.DataFrame, bool]:
    """The last mixed model, the table, and whether a random term is left."""
    gone: list[pd.DataFrame] = []
    first: pd.DataFrame | None = None
    while True:
        deletions = list(_deletions(model, reduce_terms=True))
        table = _deletion_frame(model, deletions)
        first = table.iloc[:1] if first is None else first
        p_values = table["Pr(>Chisq)"].to_numpy()[1:]
        worst = int(np.argmax(p_values))
        kept = deletions[worst].kept
        if not p_values[worst] > alpha or not (kept or _has_least_squares(model)):
            return model, _elimination_frame([*gone, table.iloc[1:]], first), True
        gone.append(table.iloc[worst + 1 : worst + 2])
        if not kept:
            return model, _elimination_frame([*gone, table.iloc[:0]], first), False
        model = model.update_on_own_rows(_formula_with(model, kept))


def _has_least_squares(model: Comparable) -> bool:
    """Whether there is such a model without random effects: not with a known sigma."""
    return model.fit.known_sigma is None


def _reduce_least_squares(
    model: ModelT, alpha: float, keep: Sequence[str]
) -> tuple[LeastSquares, pd.DataFrame]:
    """Leave out terms of the model without its random effects."""
    gone: list[pd.DataFrame] = []
    terms = list(model.fit.matrices.fixed.term_labels)
    while True:
        smaller = model.least_squares(_fixed_formula(model, terms))
        table = smaller.drop1().to_frame().iloc[1:]
        # A term without columns of its own adds nothing.
        p_values = table.iloc[:, -1].fillna(1.0).drop(list(set(keep) & set(table.index)))
        if not (p_values > alpha).any():
            return smaller, _elimination_frame([*gone, table])
        worst = str(p_values.idxmax())
        gone.append(table.loc[[worst]])
        terms.remove(worst)


def _fixed_formula(model: Comparable, terms: Sequence[str]) -> str:
    """A formula of some fixed terms, without the random ones."""
    constant = "1" if model.fit.matrices.fixed.has_intercept else "0"
    offsets = [deparse(offset) for offset in model.formula.offsets]
    right = [*([constant] if constant == "0" or not terms else []), *terms, *offsets]
    return f"{model.formula.response} ~ {' + '.join(right)}"


def _reduce_fixed(
    model: ModelT, ddf: Ddf | None, alpha: float, keep: Sequence[str]
) -> tuple[ModelT, pd.DataFrame]:
    gone: list[pd.DataFrame] = []
    while True:
        method = ddf_method(model.fit, ddf)
        tests = _marginal_tests(method, checked_scope(model.fit.matrices.fixed, None))
        table = anova_frame(tests, method.fit.sigma)
        # A term without columns of its own adds nothing.
        p_values = table.iloc[:, -1].fillna(1.0).drop(list(set(keep) & set(tests)))
        if not (p_values > alpha).any():
            return model, _elimination_frame([*gone, table])
        worst = str(p_values.idxmax())
        gone.append(table.loc[[worst]])
        model = model.update_on_own_rows(f". ~ . - {worst}")


def _elimination_frame(
    tables: Sequence[pd.DataFrame], first: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Rows in order of elimination, numbered; those of the last table were kept."""
    numbered = [table.assign(Eliminated=float(i)) for i, table in enumerate(tables[:-1], start=1)]
    parts = [*numbered, tables[-1].assign(Eliminated=0.0)]
    if first is not None:
        parts.insert(0, first.assign(Eliminated=np.nan))
    frame = pd.concat(parts)
    return frame[["Eliminated", *(name for name in frame.columns if name != "Eliminated")]]
