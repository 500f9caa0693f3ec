"""Comparison of models: R's ``anova(m1, m2, ...)``, ``anova(m)`` and ``drop1``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.design import ModelMatrices
from lmm.design.fixed import FixedEffects
from lmm.errors import DataError, nearest
from lmm.family import Family, family_named
from lmm.fit import Fit, check_models
from lmm.fitted import Comparable
from lmm.inference.variance.lrt import (
    Sample,
    boundary_weights,
    check_comparable,
    check_samples,
    chi_bar_square_tail,
    chi_square_tail,
    sequential_sums_of_squares,
)
from lmm.plain_fit import PlainFit
from lmm.report.printed import AnovaTable
from lmm.tables.deviances import compare_plain

ModelT = TypeVar("ModelT", bound="Comparable")


@dataclass(frozen=True)
class _Line:
    """A model in a table of likelihoods.

    Attributes
    ----------
    formula : str
        Its formula.
    y : (n,) array
        Its response.
    n_parameters : int
        Number of its parameters.
    loglik : float
        Log-likelihood.
    matrices : ModelMatrices or None
        Its design, where it is one of this package's.
    data_name : str or None
        Name of its data.
    family : Family or None
        Conditional distribution of a mixed model.
    rule : str
        How random effects are integrated out, where that is an approximation.
    """

    formula: str
    y: Vector
    n_parameters: int
    loglik: float
    matrices: ModelMatrices | None = None
    data_name: str | None = None
    family: Family | None = None
    rule: str = ""

    @property
    def sample(self) -> Sample:
        """What its likelihood is one of."""
        weights = None if self.matrices is None else self.matrices.weights
        return Sample(self.formula, self.y, weights, self.family, self.rule)

    @classmethod
    def of(cls, model: Any) -> _Line:
        """Line of a mixed model, of `lmm.lm`, or of a result of statsmodels.

        Raises
        ------
        TypeError
            It is none of them.
        """
        about: Any = getattr(model, "model", None)
        if hasattr(model, "llf") and hasattr(about, "endog") and hasattr(model, "ssr"):
            text = getattr(about, "formula", None) or getattr(about, "endog_names", "y")
            y = np.asarray(about.endog, dtype=np.float64)
            # statsmodels counts coefficients alone, also where there is a residual variance
            return cls(str(text), y, len(model.params) + 1, float(model.llf))
        if hasattr(model, "llf") and hasattr(about, "endog") and hasattr(about, "family"):
            return cls._of_statsmodels_glm(model, about)
        formula, name = str(getattr(model, "formula", "")), getattr(model, "data_name", None)
        own = getattr(model, "matrices", None)
        if isinstance(own, ModelMatrices):
            family = getattr(model, "family", None)
            return cls(formula, own.y, model.n_parameters, model.loglik(), own, name, family)
        check_models(model)
        fit = model.fit
        y, loglik = fit.matrices.y, fit.loglik
        n, matrices = fit.n_parameters, fit.matrices
        return cls(formula, y, n, loglik, matrices, name, fit.family, fit.rule)

    @classmethod
    def _of_statsmodels_glm(cls, model: Any, about: Any) -> _Line:
        """Line of a statsmodels GLM, whose likelihood is exact where it has no dispersion.

        Raises
        ------
        TypeError
            It has one.
        """
        if type(about.family).__name__ not in ("Binomial", "Poisson"):
            raise TypeError(
                "statsmodels' likelihood of a family with a dispersion is not the highest one: fit "
                "the model by lmm.glm."
            )
        text = getattr(about, "formula", None) or getattr(about, "endog_names", "y")
        y = np.asarray(about.endog, dtype=np.float64)
        family = family_named(about.family)
        return cls(str(text), y, len(model.params), float(model.llf), family=family)


def anova(
    *models: Any, refit: bool = True, names: Sequence[str] | None = None, boundary: bool = False
) -> AnovaTable:
    """Compare nested models by likelihood-ratio tests.

    Parameters
    ----------
    *models : LinearMixedModel
        Two models or more; they are sorted by their number of parameters. Models without random
        effects may be among them: of `lmm.lm`, `lmm.glm`, or results of statsmodels' least squares.
    refit : bool
        Whether models fitted by REML are fitted again by maximum likelihood first, which makes
        models with different fixed effects comparable.
    names : sequence of str, optional
        Names of the models in the table, in the order given: ``m1``, ``m2``, ... by default.
    boundary : bool
        Whether to add p-values ``Pr(>Chibar)`` that know that variances are not negative: where
        one random effect was added, the statistic is half one chi-square, half another
        (`lmm.inference.variance.lrt`). Missing where there is no such rule.

    Returns
    -------
    AnovaTable
        ``npar AIC BIC logLik deviance Chisq Df Pr(>Chisq)``; prints as R's. Where none has random
        effects, tests as R's ``anova`` of ``lm`` (F) or ``glm`` (differences of deviances), in the
        order given.

    Raises
    ------
    DataError
        The models were fitted to different rows or responses, weigh them differently, or have a
        normal response and one of another family.
    ValueError
        Fewer than two models; or REML criteria of different fixed effects with ``refit=False``.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> m1 = lmm.lmer("Reaction ~ Days + (Days | Subject)", d, reml=False)
    >>> m2 = lmm.lmer("Reaction ~ Days + (Days || Subject)", d, reml=False)
    >>> lmm.anova(m1, m2)
    Data: sleepstudy
    Models:
    m2: Reaction ~ Days + ((1 | Subject) + (0 + Days | Subject))
    m1: Reaction ~ Days + (Days | Subject)
       npar    AIC    BIC  logLik deviance  Chisq Df Pr(>Chisq)
    m2    5 1762.0 1778.0 -876.00   1752.0
    m1    6 1763.9 1783.1 -875.97   1751.9 0.0639  1     0.8004
    """
    if len(models) < 2:
        check_models(*models)
        raise ValueError("anova compares two models or more: use m.anova() for the terms of one.")
    given, names = names, model_names(names, len(models))
    check_samples([_Line.of(model).sample for model in models])
    mixed = [model for model in models if isinstance(getattr(model, "fit", None), Fit)]
    if all(isinstance(getattr(model, "fit", None), PlainFit) for model in models):
        return compare_plain(models, given)
    if not mixed:
        raise TypeError("anova compares models of lmm: one of them at least must be one.")
    _check_sigmas(models, mixed)
    heading: list[str] = []
    if any(model.fit.reml for model in mixed):
        if refit:
            mixed = [model.refit_ml() for model in mixed]
            heading.append("refitting model(s) with ML (instead of REML)")
        else:
            _check_same_fixed([model.fit for model in mixed], len(models) - len(mixed))
    found = iter(settled(mixed))
    lines = [
        _Line.of(next(found) if isinstance(getattr(model, "fit", None), Fit) else model)
        for model in models
    ]
    order = np.argsort([line.n_parameters for line in lines], kind="stable")
    lines, names = [lines[i] for i in order], [names[i] for i in order]
    named = [line.data_name for line in lines if line.data_name is not None]
    if named:
        heading.append(f"Data: {named[0]}")
    heading.append("Models:")
    for name, line in zip(names, lines, strict=True):
        heading += [f"{name}: {text}" for text in line.formula.split("\n")]
    table = _likelihood_table(lines, names)
    if boundary:
        table["Pr(>Chibar)"] = _boundary_p_values(lines, table["Chisq"])
    return AnovaTable(table, tuple(heading))


def model_names(names: Sequence[str] | None, n: int) -> list[str]:
    """Names of n models as given, or ``m1``, ``m2``, ...

    Raises
    ------
    ValueError
        There are not as many names as models.
    """
    names = [f"m{i + 1}" for i in range(n)] if names is None else list(names)
    if len(names) != n:
        raise ValueError(f"There are {n} models, but {len(names)} names.")
    return names


def settled(models: Sequence[ModelT]) -> list[ModelT]:
    """Models, each searched for from the covariances of the others too where that helps.

    A criterion may have several minima; of nested models the larger one then never fits worse.
    """
    models = list(models)
    for _ in models:
        fits = [model.fit for model in models]
        models = [model.lowered(_kin(model.fit, fits)) for model in models]
        if all(model.fit is fit for model, fit in zip(models, fits, strict=True)):
            break
    return models


def _kin(fit: Fit, fits: Sequence[Fit]) -> list[Fit]:
    """Fits of the same kind of criterion."""
    return [other for other in fits if other is not fit and type(other) is type(fit)]


def _check_sigmas(models: Sequence[Any], mixed: Sequence[Any]) -> None:
    """Refuse a known sigma beside an estimated one, or another: the models are not nested."""
    sigmas = {model.fit.known_sigma for model in mixed}
    if sigmas != {None} and (len(sigmas) > 1 or len(mixed) < len(models)):
        raise DataError(
            "the models do not have the same known residual standard deviation: fit all of them "
            "by lmm.lmer with the same sigma=; m.ranova() leaves random effects out"
        )


def _check_same_fixed(fits: Sequence[Fit], others: int) -> None:
    first = fits[0]
    for fit in fits:
        same = fit.reml == first.reml and fit.matrices.fixed.names == first.matrices.fixed.names
        if others or not same:
            raise ValueError(
                "REML criteria of models with different fixed effects, or of REML and maximum "
                "likelihood fits, cannot be compared: leave refit=True."
            )


def _likelihood_table(lines: Sequence[_Line], names: Sequence[str]) -> pd.DataFrame:
    npar = np.array([line.n_parameters for line in lines])
    loglik = np.array([line.loglik for line in lines])
    chisq = np.maximum(0.0, 2.0 * np.diff(loglik))
    df = np.diff(npar)
    return pd.DataFrame(
        {
            "npar": npar,
            "AIC": -2.0 * loglik + 2.0 * npar,
            "BIC": -2.0 * loglik + np.log(len(lines[0].y)) * npar,
            "logLik": loglik,
            "deviance": -2.0 * loglik,
            "Chisq": [np.nan, *chisq],
            "Df": [np.nan, *df],
            "Pr(>Chisq)": [np.nan, *chi_square_tail(chisq, df)],
        },
        index=list(names),
    )


def _boundary_p_values(lines: Sequence[_Line], chisq: pd.Series[float]) -> list[float]:
    tails = [np.nan]
    for small, large, statistic in zip(lines, lines[1:], chisq.iloc[1:], strict=False):
        weights = None
        if small.matrices is not None and large.matrices is not None:
            weights = boundary_weights(small.matrices, large.matrices)
        tails.append(np.nan if weights is None else chi_bar_square_tail(statistic, weights))
    return tails


def sequential_anova(model: Comparable) -> AnovaTable:
    """Sequential sums of squares of a model's fixed effects, without tests, as R's ``anova(m)``.

    Returns
    -------
    AnovaTable
        ``npar``, ``Sum Sq``, ``Mean Sq``, ``F value``.
    """
    labels, df, sums = sequential_sums_of_squares(model.fit)
    mean = sums / df
    table = pd.DataFrame(
        {
            "npar": df.astype(int),
            "Sum Sq": sums,
            "Mean Sq": mean,
            "F value": mean / model.fit.sigma**2,
        },
        index=list(labels),
    )
    return AnovaTable(table, ("Analysis of Variance Table",))


def drop1(
    model: Comparable, scope: Sequence[str] | None = None, test: str | None = None
) -> AnovaTable:
    """Leave out each fixed term that no other term contains, by maximum likelihood.

    Arguments and errors as for `LinearMixedModel.drop1`.
    """
    if test not in (None, "Chisq"):
        raise ValueError(f"test must be None, 'Chisq' or 'F', not {test!r}.")
    full = model.refit_ml()
    labels = checked_scope(full.fit.matrices.fixed, scope)
    deleted = [full.update_on_own_rows(f". ~ . - {label}") for label in labels]
    check_comparable([full.fit, *(model.fit for model in deleted)])
    full, *deleted = settled([full, *deleted])
    smaller = [model.fit for model in deleted]
    npar = np.array([full.fit.n_parameters - fit.n_parameters for fit in smaller])
    aic = [2.0 * fit.n_parameters - 2.0 * fit.loglik for fit in (full.fit, *smaller)]
    table = pd.DataFrame({"npar": [np.nan, *npar], "AIC": aic}, index=["<none>", *labels])
    if test is not None:
        statistics = [max(0.0, 2.0 * (full.fit.loglik - fit.loglik)) for fit in smaller]
        tails = chi_square_tail(statistics, npar)
        table["LRT"], table["Pr(Chi)"] = [np.nan, *statistics], [np.nan, *tails]
    heading = ("Single term deletions", "", "Model:", *str(model.formula).split("\n"))
    return AnovaTable(table, heading)


def checked_scope(fixed: FixedEffects, scope: Sequence[str] | None) -> list[str]:
    """Labels of the fixed terms to leave out: those given, or all that no other term contains.

    Raises
    ------
    DataError
        A term of `scope` is not in the model, or is contained in another.
    """
    variables = dict(zip(fixed.term_labels, map(set, fixed.term_variables), strict=True))
    free = [
        label
        for label, mine in variables.items()
        if not any(mine < other for other in variables.values())
    ]
    for label in scope or ():
        if label not in variables:
            raise DataError(f"the model has no fixed term {label!r}.{nearest(label, variables)}")
        if label not in free:
            raise DataError(
                f"the term {label!r} is contained in another term and cannot be left out alone; "
                f"terms that can: {', '.join(free)}"
            )
    return free if scope is None else list(scope)
