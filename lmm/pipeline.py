"""`lmer`: the whole package in one function. Open each function it calls, in turn, for the tour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lmm._arguments import knows_arguments
from lmm._threads import one_blas_thread
from lmm._types import Vector
from lmm._words import NaAction, OptimizerName, SolverName
from lmm.design import LmerControl, table_of_arrays
from lmm.errors import DataError, ResponseWarning, warn
from lmm.family import NegativeBinomial, family_named
from lmm.formula import Formula, parse_formula
from lmm.model import GeneralizedMixedModel, LinearMixedModel
from lmm.optimize import Optimizer, reporter
from lmm.plain_fit import LeastSquaresFit, ScoredFit
from lmm.pls import Solver
from lmm.request import GeneralizedRequest, LeastSquaresRequest, Request, ScoredRequest

if TYPE_CHECKING:
    from lmm.criterion.model_sums import ModelSums
    from lmm.model.glm import GeneralizedLinearModel
    from lmm.model.least_squares import LinearModel
    from lmm.model.without_effects import WithoutEffects
    from lmm.storage import StoredPlain


@knows_arguments
@one_blas_thread
def lmer(
    formula: str | Formula,
    data: Any,
    *,
    reml: bool = True,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: NaAction = "omit",
    contrasts: Mapping[str, object] | None = None,
    start: Vector | None = None,
    solver: SolverName | Solver = "auto",
    optimizer: OptimizerName | Optimizer = "auto",
    control: LmerControl | None = None,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
    verbose: int = 0,
    sigma: float | None = None,
) -> LinearMixedModel:
    """Fit a linear mixed-effects model from a formula in lme4's syntax.

    Parameters
    ----------
    formula : str or Formula
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    data : DataFrame, table or mapping of arrays
        pandas, polars or pyarrow table, or a dict of arrays.
    reml : bool, default True
        REML if true, maximum likelihood if false. Without fixed effects the two are the same, and
        the fit is reported as maximum likelihood.
    weights : str or (n,) array, optional
        Prior weights: the residual variance is sigma^2 / weight. Rows of weight zero are dropped.
    offset : str or (n,) array, optional
        Known part of the linear predictor; adds to ``offset()`` in the formula.
    subset : str or (n,) array of bool, optional
        Rows to use: a condition such as ``"x > 2 & g != 'a'"``, a column name, or values.
    na_action : {"omit", "exclude", "raise"}
        Rows with missing values: left out; left out but padded with NaN in results by row; error.
    contrasts : mapping, optional
        Contrasts by factor, such as ``{"f": "contr.sum"}``.
    start : (m,) array, optional
        Starting theta, lme4's scale.
    solver : str or Solver, default "auto"
        ``"auto"``, ``"block"``, ``"cholmod"``, ``"sparse"``, ``"krylov"``, ``"dense"``, or an
        object with options, such as ``lmm.pls.Sparse("scipy")``.
    optimizer : str or Optimizer, default "auto"
        ``"auto"`` (second-order), ``"L-BFGS-B"``, ``"COBYQA"``, ``"Nelder-Mead"``, or an object.
    control : LmerControl, optional
        Which checks are made, and what happens when one fails.
    extra_namespace : mapping of str to callable, optional
        Functions of your own that the formula calls, such as ``{"f": f}``: they take columns as
        arrays (n,), and return n values, or an array (n, k), row by row.
    verbose : int, default 0
        Above 0, each evaluation of the criterion is written to standard error.
    sigma : float, optional
        Residual standard deviation, where it is known and not to be estimated: 1.0 for effect sizes
        with known sampling variances, whose reciprocals are the weights. There may then be a random
        effect for each row.

    Returns
    -------
    LinearMixedModel

    Raises
    ------
    FormulaError
        The formula does not parse.
    DataError
        The data do not suit the formula.
    NumericalError
        The model cannot be computed, e.g. the fixed effects fit the response exactly.

    Warns
    -----
    ConvergenceWarning, SingularFitWarning, RankDeficiencyWarning, ScaleWarning
        Once each; kept in ``m.warnings``.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> print(m.fixef().round(3))
    (Intercept)    251.405
    Days            10.467
    dtype: float64
    """
    request = Request.of(
        formula,
        data,
        reml=reml,
        weights=weights,
        offset=offset,
        subset=subset,
        na_action=na_action,
        contrasts=contrasts,
        solver=solver,
        optimizer=optimizer,
        control=control,
        extra_namespace=extra_namespace,
        sigma=sigma,
    )
    criterion = request.criterion()
    return LinearMixedModel.estimate(criterion, request, start=start, report=reporter(verbose))


def sums(
    formula: str | Formula,
    data: Any,
    *,
    weights: str | None = None,
    offset: str | None = None,
    subset: str | None = None,
    na_action: NaAction = "omit",
    contrasts: Mapping[str, object] | None = None,
    control: LmerControl | None = None,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
    like: ModelSums | None = None,
) -> ModelSums:
    """Sum up the rows of a linear mixed model: all that `lmer` needs of them.

    Sums of parts are added by ``+``, so that a model is fitted to rows that are never in one place:
    ``lmer(formula, a + b)``.

    Parameters
    ----------
    formula : str or Formula
        Mixed-model formula.
    data : table or source
        What `lmer` takes; here tables in memory are parts of a larger one.
    weights, offset, subset, na_action, contrasts, control, extra_namespace
        As for `lmer`; the first two are names of columns, and `subset` is a name or condition.
    like : ModelSums, optional
        Other sums of the formula, to which these can be added: they tell the levels of the fixed
        part's factors, transforms such as ``scale(x)``, and the coordinates in which is summed.
        The options are theirs too.

    Returns
    -------
    ModelSums

    Raises
    ------
    FormulaError
        The formula does not parse.
    DataError
        The data do not suit the formula or `like`.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> first = lmm.sums(formula, d[:100])
    >>> rest = lmm.sums(formula, d[100:], like=first)
    >>> round(lmm.lmer(formula, first + rest).reml_criterion(), 4)
    1743.6283
    """
    from lmm.criterion.model_sums import ModelSums
    from lmm.design.batches import recipe_of
    from lmm.design.partitions import source_of

    options: dict[str, Any] = {
        "weights": weights,
        "offset": offset,
        "subset": subset,
        "na_action": na_action,
        "contrasts": contrasts,
        "control": control,
        "extra_namespace": extra_namespace,
    }
    if like is not None:
        if not isinstance(like, ModelSums):
            raise TypeError(f"like must be what lmm.sums gave, not {type(like).__name__}")
        given = {name: value for name, value in options.items() if value not in (None, "omit")}
        like.check(parse_formula(formula), given)
        return like.of_more(data)
    source = source_of(data)
    return ModelSums.of(recipe_of(formula, source, **options), source)


@knows_arguments
@one_blas_thread
def lm(
    formula: str,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: NaAction = "omit",
    contrasts: Mapping[str, object] | None = None,
    control: LmerControl | None = None,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
) -> LinearModel:
    """Fit a model without random effects by least squares, to compare mixed models with.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days"``, in R's syntax.
    data, weights, offset, subset, na_action, contrasts, control, extra_namespace
        As for `lmer`.

    Returns
    -------
    LinearModel

    Raises
    ------
    FormulaError
        The formula does not parse, or has a random term.
    DataError
        The data do not suit the formula.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", d)
    >>> m0 = lmm.lm("Reaction ~ Days", d)
    >>> lmm.anova(m, m0, names=["m", "m0"])
    refitting model(s) with ML (instead of REML)
    Data: sleepstudy
    Models:
    m0: Reaction ~ Days
    m: Reaction ~ Days + (Days | Subject)
       npar    AIC    BIC  logLik deviance  Chisq Df Pr(>Chisq)
    m0    3 1906.3 1915.9 -950.15   1900.3
    m     6 1763.9 1783.1 -875.97   1751.9 148.35  3  < 2.2e-16 ***
    ---
    Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
    """
    from lmm.model.least_squares import LinearModel

    return LinearModel.of(
        LeastSquaresRequest.of(
            formula,
            data,
            weights=weights,
            offset=offset,
            subset=subset,
            na_action=na_action,
            contrasts=contrasts,
            control=control,
            extra_namespace=extra_namespace,
        )
    )


def lmer_arrays(y: Any, X: Any, groups: Any, Z: Any = None, **options: Any) -> LinearMixedModel:
    """Fit a linear mixed-effects model from arrays (statsmodels' endog, exog, groups, exog_re).

    Parameters
    ----------
    y : (n,) array
        Response.
    X : (n, p) array
        Fixed-effects model matrix, used as given.
    groups : (n,) array, or mapping of arrays
        Grouping factor, or several by name (crossed).
    Z : (n, k) array, optional
        Random-effects columns, used as given; a random intercept by default.
    **options
        ``reml, weights, offset, na_action, start, solver, optimizer, control, verbose, sigma`` as
        for `lmer`.

    Returns
    -------
    LinearMixedModel

    Examples
    --------
    >>> import lmm, numpy as np
    >>> d = lmm.load_dataset("sleepstudy")
    >>> X = np.column_stack([np.ones(180), d["Days"]])
    >>> m = lmm.lmer_arrays(d["Reaction"], X, d["Subject"], X)
    >>> round(m.reml_criterion(), 4)
    1743.6283
    """
    return lmer(*table_of_arrays(y, X, groups, Z), **options)


@knows_arguments
@one_blas_thread
def glm(
    formula: str,
    data: Any,
    family: Any = "binomial",
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Mapping[str, object] | None = None,
    control: LmerControl | None = None,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
) -> GeneralizedLinearModel:
    """Fit a generalized model without random effects, to compare those of `glmer` with.

    A shape, such as the dispersion of Gamma responses or theta of negative binomial ones, is that
    of the highest likelihood too, so that likelihoods compare.

    Parameters
    ----------
    formula : str
        Such as ``"incidence / size ~ period"``, in R's syntax.
    family : str, Family, class of Family, or statsmodels family
        As for `glmer`.
    data, weights, offset, subset, na_action, contrasts, control, extra_namespace
        As for `glmer`.

    Returns
    -------
    GeneralizedLinearModel

    Raises
    ------
    FormulaError
        The formula does not parse, or has a random term.
    DataError
        The data do not suit the formula or the family; for a Gaussian identity link use `lm`.
    NumericalError
        The coefficients have no finite values.

    Examples
    --------
    >>> import lmm
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    >>> m0 = lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp)
    >>> lmm.anova(m, m0, boundary=True).to_frame()[["npar", "Chisq", "Pr(>Chibar)"]].round(5)
        npar     Chisq  Pr(>Chibar)
    m2     4       NaN          NaN
    m1     5  14.00584      0.00009
    """
    from lmm.model.glm import GeneralizedLinearModel

    known = family_named(family)
    if known.is_gaussian_identity:
        raise DataError("a Gaussian model with the identity link is a linear one: use lmm.lm.")
    return GeneralizedLinearModel.of(
        ScoredRequest.of(
            formula,
            data,
            family=known,
            weights=weights,
            offset=offset,
            subset=subset,
            na_action=na_action,
            contrasts=contrasts,
            control=control,
            extra_namespace=extra_namespace,
        )
    )


@knows_arguments
@one_blas_thread
def glmer(
    formula: str | Formula,
    data: Any,
    family: Any = "binomial",
    *,
    nagq: int = 1,
    information: str | None = None,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: NaAction = "omit",
    contrasts: Mapping[str, object] | None = None,
    start: Vector | None = None,
    solver: SolverName | Solver = "auto",
    optimizer: OptimizerName | Optimizer = "auto",
    control: LmerControl | None = None,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
    verbose: int = 0,
    sigma: float | None = None,
) -> GeneralizedMixedModel:
    """Fit a generalized linear mixed-effects model from a formula in lme4's syntax.

    Parameters
    ----------
    formula : str or Formula
        Such as ``"cbind(incidence, size - incidence) ~ period + (1 | herd)"``. A binomial response
        is ``cbind(successes, failures)``, a proportion with its numbers of trials as `weights`,
        0/1, truth values, or a factor or text of two levels, of which the first is failure.
    family : str or Family, default "binomial"
        ``"binomial"``, ``"poisson"``, ``"Gamma"``, ``"gaussian"``, ``"inverse.gaussian"`` or
        ``"negative.binomial"``, or an object with a link such as ``lmm.Binomial("probit")``;
        statsmodels' families are understood.
    nagq : int, default 1
        1 for Laplace's approximation; up to 100 points of adaptive Gauss-Hermite quadrature per
        column of a single grouping factor; 0 for fixed effects at the joint mode, which is fast
        and biased.
    information : {"expected", "observed"}, optional
        Information in Laplace's determinant: the expected one is lme4's and the default, the
        observed one glmmTMB's and the default of families with a dispersion. They are one for
        canonical links.
    weights : str or (n,) array, optional
        Numbers of trials of proportions; otherwise prior weights, which multiply the
        log-likelihood of a row.
    data, offset, subset, na_action, contrasts, extra_namespace
        As for `lmer`.
    start, solver, optimizer, control, verbose
        As for `lmer`. `start` is theta, or theta, coefficients and shape, all or the first of them,
        or some by name; or R's list as a mapping of ``"theta"`` and ``"fixef"``.

    Returns
    -------
    GeneralizedMixedModel
        For the gaussian family with identity link, which is a linear model, what `lmer` gives.

    Raises
    ------
    FormulaError
        The formula does not parse.
    DataError
        The data do not suit the formula, or the response the family.
    NumericalError
        The likelihood cannot be computed at the start.
    ValueError
        `sigma` is given for a generalized model.

    Warns
    -----
    ConvergenceWarning, SingularFitWarning, RankDeficiencyWarning, ScaleWarning
        Once each; kept in ``m.warnings``.

    Examples
    --------
    >>> import lmm
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    >>> m.fixef().round(3).to_dict()
    {'(Intercept)': -1.399, 'period2': -0.992, 'period3': -1.129, 'period4': -1.58}
    """
    options = {
        "weights": weights,
        "offset": offset,
        "subset": subset,
        "na_action": na_action,
        "contrasts": contrasts,
        "solver": solver,
        "optimizer": optimizer,
        "control": control,
        "extra_namespace": extra_namespace,
        "sigma": sigma,
    }
    if family_named(family).is_gaussian_identity:
        return _linear(formula, data, start=start, verbose=verbose, **options)
    request = GeneralizedRequest.of(
        formula, data, family=family, nagq=nagq, information=information, **options
    )
    criterion = request.criterion()
    return GeneralizedMixedModel.estimate(
        criterion,
        request,
        start=criterion.completed(start),
        others=() if start is None else (criterion.first_start,),
        report=reporter(verbose),
    )


def _linear(formula: str | Formula, data: Any, **options: Any) -> GeneralizedMixedModel:
    """A linear model that was asked for as a generalized one: fitted by `lmer`, as R does."""
    warn(
        ResponseWarning(
            "calling glmer() with family=gaussian (identity link) as a shortcut to lmer() is "
            "deprecated; please call lmer() directly"
        )
    )
    # a linear model has all that is asked of a generalized one
    return cast(GeneralizedMixedModel, lmer(formula, data, **options))


def glmer_nb(
    formula: str | Formula, data: Any, *, theta: float | None = None, **options: Any
) -> GeneralizedMixedModel:
    """Fit a negative binomial mixed model: counts with more variance than Poisson's.

    Parameters
    ----------
    formula, data
        As for `glmer`.
    theta : float, optional
        Shape of the distribution; estimated jointly with the other parameters by default.
    **options
        As for `glmer`, with ``link`` of ``"log"`` (default), ``"sqrt"`` or ``"identity"``.

    Returns
    -------
    GeneralizedMixedModel

    Examples
    --------
    >>> import lmm
    >>> data = {"y": [0, 1, 1, 3, 0, 6, 4, 19], "x": [0, 1, 2, 3] * 2, "g": list("aaaabbbb")}
    >>> m = lmm.glmer_nb("y ~ x + (1 | g)", data, theta=20.0)
    >>> m.family
    NegativeBinomial(theta=20.0, link='log')
    """
    family = NegativeBinomial(theta, options.pop("link", "log"))
    return glmer(formula, data, family, **options)


@one_blas_thread
def load(path: str | Path) -> LinearMixedModel | GeneralizedMixedModel | WithoutEffects:
    """Read a model that `LinearMixedModel.save` wrote, or one of `lmm.lm` or `lmm.glm`.

    Nothing is fitted and nothing is unpickled: the design is built from the stored data, and the
    stored optimum must have the stored value.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    DataError
        It is no such file, one of another version, or its contents do not agree.

    Examples
    --------
    >>> import lmm, pathlib, tempfile
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "dyestuff.lmm"
    ...     m.save(path)
    ...     print(lmm.load(path).formula)
    Yield ~ 1 + (1 | Batch)
    """
    from lmm.storage import StoredPlain, read

    stored = read(path)
    if isinstance(stored, StoredPlain):
        return _without_effects(stored)
    is_generalized = isinstance(stored.request, GeneralizedRequest)
    kind = GeneralizedMixedModel if is_generalized else LinearMixedModel
    return kind.at(stored.criterion, stored.optimum, stored.request)


def _without_effects(stored: StoredPlain) -> WithoutEffects:
    """The model of a fit without random effects."""
    from lmm.model.glm import GeneralizedLinearModel
    from lmm.model.least_squares import LinearModel

    fit, notes = stored.fit, stored.matrices.notes
    if isinstance(fit, ScoredFit):
        return GeneralizedLinearModel(fit, stored.request, notes)
    assert isinstance(fit, LeastSquaresFit)
    return LinearModel(fit, stored.request, notes)
